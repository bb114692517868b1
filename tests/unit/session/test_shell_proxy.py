"""The proxy of the launching shell: which variable, and what a policy file would say instead."""

import pytest

from ringfence.session import shell_proxy


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in shell_proxy.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_variable_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell_proxy.variable() == ""
    monkeypatch.setenv("https_proxy", "")
    assert shell_proxy.variable() == ""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert shell_proxy.variable() == "http_proxy"


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy.example:3128", "proxy.example:3128"),
        ("http://Proxy.Example:3128/", "proxy.example:3128"),
        ("proxy.example:3128", "proxy.example:3128"),
        ("http://me:hunter2@proxy.example:3128", "proxy.example:3128"),
        ("socks5://proxy.example:1080", "HOST:PORT"),
        ("http://proxy.example", "HOST:PORT"),
    ],
)
def test_what_policy_would_say(url: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert shell_proxy.setting("HTTPS_PROXY") == f'parent-proxy = "http://{proxy}"'
