"""A maven repository: Debian's own, of which every package of Java is part."""

from pathlib import Path

from tests.integration.lab.world import MAVEN_CENTRAL, OLD_MAVEN_CENTRAL

REPOSITORY = Path("/usr/share/maven-repo")
_PLUGINS = ("resources", "compiler", "surefire", "jar")

_PROJECT = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>org.example</groupId><artifactId>demo</artifactId><version>1.0</version>
<properties><maven.compiler.release>17</maven.compiler.release>
<project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>
<dependencies><dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version>
<scope>test</scope></dependency></dependencies>
<build><plugins>{}</plugins></build></project>
"""
_PLUGIN = "<plugin><artifactId>maven-{}-plugin</artifactId><version>{}</version></plugin>"


def newest(directory: Path) -> str:
    """The newest version in a directory of versions."""
    versions = [path.name for path in directory.iterdir() if path.name[0].isdigit()]
    return max(versions, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()])


def build(sites: Path) -> None:
    """Serve the repository, and give a project that uses the versions in it."""
    (sites / MAVEN_CENTRAL).mkdir(parents=True)
    (sites / MAVEN_CENTRAL / "maven2").symlink_to(REPOSITORY)
    (sites / OLD_MAVEN_CENTRAL).symlink_to(MAVEN_CENTRAL)
    plugins = REPOSITORY / "org/apache/maven/plugins"
    versions = (_PLUGIN.format(name, newest(plugins / f"maven-{name}-plugin")) for name in _PLUGINS)
    project = sites / "projects" / "maven"
    project.mkdir(parents=True)
    (project / "pom.xml").write_text(_PROJECT.format("".join(versions)))
