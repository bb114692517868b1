"""The manifest: what counts as called, what cannot be followed, and what the digest is made of."""

import posixpath

import pytest

from ringfence.trust.manifest import CALLED_LIMIT, Found, Manifest, build


def file(path: str, text: str | None = "", *, loader: str = "agent", executable: bool = False, top: str = "") -> Found:
    return Found(
        path=path,
        kind="file",
        digest=f"digest of {text}",
        text=text,
        loader=loader,
        executable=executable,
        top=top or path,
    )


class Disk:
    """A checkout in memory."""

    def __init__(self, *files: Found) -> None:
        self.files = {one.path: one for one in files}

    def look(self, path: str, everything: bool) -> list[Found]:
        place = posixpath.normpath(path)
        below = [one for one in self.files.values() if one.path.startswith(f"{place}/")]
        if place in self.files:
            return [self.files[place]]
        return below if everything else [Found(path=place, kind="directory")] if below else []


def script(path: str, text: str = "") -> Found:
    return Found(path=path, kind="file", digest=f"digest of {text}", text=text, executable=True)


def made(surface: Found, *others: Found) -> Manifest:
    return build([surface], [], Disk(surface, *others).look)


def called(manifest: Manifest) -> list[str]:
    return [one.path for one in manifest.entries if one.called_by]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".claude/settings.json", '{"hooks": {"Stop": [{"hooks": [{"command": "sh tools/x.sh --fast"}]}]}}'),
        (".claude/settings.json", '{"apiKeyHelper": "\\"$CLAUDE_PROJECT_DIR\\"/tools/x.sh"}'),
        (".claude/settings.json", '{"apiKeyHelper": "${CLAUDE_PROJECT_DIR}/tools/x.sh"}'),
        (".claude/settings.json", '{"apiKeyHelper": "tools\\u002fx.sh"}'),
        (".claude/settings.json", '{"apiKeyHelper": "a;b&&tools/x.sh|c"}'),
        (".mcp.json", '{"mcpServers": {"a": {"command": "node", "args": ["--x=tools/x.sh"]}}}'),
        (".codex/config.toml", 'notify = ["bash", "tools/x.sh"]'),
        ("sub/.mcp.json", '{"command": "../tools/x.sh"}'),
        (".gemini/settings.json", '// a comment\n{"command": "$(git rev-parse --show-toplevel)/tools/x.sh"}'),
        (".claude/commands/go.md", "Do it.\n!`tools/x.sh`\n"),
        ("CLAUDE.md", "see @tools/x.sh for more"),
    ],
)
def test_a_file_that_is_named_is_called(path: str, text: str) -> None:
    assert called(made(file(path, text), script("tools/x.sh"))) == ["tools/x.sh"]


def test_what_is_called_is_followed_to_further_scripts() -> None:
    disk = (script("a.sh", ". ./b.sh"), script("b.sh", "python3 c.py\ncat notes.txt"), script("c.py", "import d"))
    notes = Found(path="notes.txt", kind="file", digest="x")
    assert called(made(file(".envrc", "source a.sh", loader="directory"), *disk, notes)) == ["a.sh", "b.sh", "c.py"]


def test_scripts_that_call_each_other_end() -> None:
    assert called(made(file(".envrc", "./a.sh"), script("a.sh", "./b.sh"), script("b.sh", "./a.sh"))) == [
        "a.sh",
        "b.sh",
    ]


def test_words_of_an_instruction_are_no_calls() -> None:
    assert called(made(file("CLAUDE.md", "run tools/x.sh first"), script("tools/x.sh"))) == []


def test_rules_that_name_a_file_are_no_calls() -> None:
    text = '{"permissions": {"deny": ["Read(src/x.py)", "Edit(./src/x.py)"]}}'
    assert called(made(file(".claude/settings.json", text), script("src/x.py"))) == []


def test_editors_call_by_their_tasks_only() -> None:
    tasks, other = (
        file(".vscode/tasks.json", "tools/x.sh", loader="editor"),
        file(".idea/y.xml", "tools/x.sh", loader="editor"),
    )
    assert called(made(tasks, script("tools/x.sh"))) == ["tools/x.sh"]
    assert called(made(other, script("tools/x.sh"))) == []


def test_the_directory_that_git_takes_hooks_from_is_called_with_all_that_is_in_it() -> None:
    config = file(".git/config", "[core]\n\thooksPath = tools/hooks\n", loader="version-control")
    assert called(made(config, script("tools/hooks/pre-push"), script("tools/hooks/lib/y"))) == [
        "tools/hooks/lib/y",
        "tools/hooks/pre-push",
    ]


def test_what_a_link_leads_to_is_called() -> None:
    link = Found(path="CLAUDE.md", kind="link", digest="docs/agents.md", top="CLAUDE.md", loader="agent")
    assert called(build([link], [], Disk(Found(path="docs/agents.md", kind="file", digest="x")).look)) == [
        "docs/agents.md"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("curl https://example.com/x | sh", "https://example.com/x"),
        ("$HOME/bin/x", "$HOME"),
        ("x=$(cat y)", "$(cat"),
        ("~/x.sh", "~/x.sh"),
        ("/opt/tool/x --y", "/opt/tool/x"),
        ("npm run lint", "npm: runs what the project's own files say"),
    ],
)
def test_what_cannot_be_followed_is_said(text: str, words: str) -> None:
    assert (".envrc", words) in made(file(".envrc", text, loader="directory")).unresolved


def test_system_programs_and_comments_are_not_worth_saying() -> None:
    assert made(file(".envrc", "#!/usr/bin/env bash\n/bin/true > /dev/null\n", loader="directory")).unresolved == ()


def test_a_directory_that_is_named_is_said() -> None:
    manifest = made(file(".mcp.json", '{"args": ["./server"]}'), script("server/index.js"))
    assert manifest.unresolved == ((".mcp.json", "server: not followed"),)


def test_a_file_too_large_to_be_searched_is_said() -> None:
    assert made(file(".envrc", None)).unresolved == (
        (".envrc", "too large, or no text: not searched for what it calls"),
    )


def test_more_calls_than_are_followed_are_said() -> None:
    scripts = [script(f"s/{number}.sh") for number in range(CALLED_LIMIT + 3)]
    manifest = made(file(".envrc", " ".join(one.path for one in scripts)), *scripts)
    assert len(called(manifest)) == CALLED_LIMIT
    assert len([words for _, words in manifest.unresolved if words.endswith("not followed")]) == 3


def test_json_nested_without_end_is_read_as_text() -> None:
    deep = "[" * 100_000 + '"tools/x.sh"'
    assert called(made(file(".mcp.json", deep), script("tools/x.sh"))) == ["tools/x.sh"]


def test_what_is_hidden_is_named_once() -> None:
    files = [file(".claude/a", top=".claude"), file(".claude/b", top=".claude"), file("CLAUDE.md")]
    assert build(files, ["x"], Disk().look).hidden == (".claude", "CLAUDE.md")


def test_the_kind_and_the_executable_bit_count() -> None:
    digests = {
        Manifest(entries=(Found(path="a", kind=kind, digest="x", executable=executable),)).digest
        for kind, executable in (("file", False), ("file", True), ("link", False))
    }
    assert len(digests) == 3


def test_fields_cannot_run_into_each_other() -> None:
    one = Manifest(entries=(Found(path="a", kind="link", digest="b1:c"),))
    two = Manifest(entries=(Found(path="a", kind="link", digest="b"), Found(path="c", kind="link", digest="")))
    assert one.digest != two.digest


def test_what_a_comment_of_our_own_policy_speaks_of_is_not_called() -> None:
    """`ringfence init` writes many, and they name commands and places."""
    text = '# `$HOME/x`, ~/.config/ringfence/policy.toml\n  # tools/x.sh\nsource = { command = ["tools/y.sh"] }\n'
    others = script("tools/x.sh"), script("tools/y.sh")
    manifest = made(file("ringfence.toml", text, loader="ringfence"), *others)
    assert (called(manifest), manifest.unresolved) == (["tools/y.sh"], ())
    assert "tools/x.sh" in called(made(file("ringfence.toml", text, loader="directory"), *others))  # the control
