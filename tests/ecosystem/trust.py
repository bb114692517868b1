"""What tools need where ringfence is not: an authority to trust, and a home that is the test's own."""

from pathlib import Path

from ringfence.network.trust import java_store
from ringfence.planner.trust_store import VARIABLES

STORE = "ca.p12"


def keeping(home: Path, temporary: Path, more: str = "") -> dict[str, str]:
    """Give the variables that keep tools to a home and a directory; a JVM asks the user database and knows /tmp."""
    java = f"-Duser.home={home} -Djava.io.tmpdir={temporary} -XX:-UsePerfData{more}"
    return {"TMPDIR": str(temporary), "JAVA_TOOL_OPTIONS": java, "PIP_CONFIG_FILE": "/dev/null"}


def trusting(lab: Path, home: Path, temporary: Path) -> dict[str, str]:
    """Give the same, with the variables that make tools trust `ca.crt` of a lab."""
    store = lab / STORE
    if not store.exists():
        store.write_bytes(java_store((lab / "ca.crt").read_bytes()))
    java = f" -Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStoreType=PKCS12"
    authority = str(lab / "ca.crt")
    trusted = {name: authority for name, _, _ in VARIABLES}
    return keeping(home, temporary, java) | trusted | {"npm_config_cafile": authority}
