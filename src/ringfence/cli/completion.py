"""`ringfence completion bash | zsh | fish`: made from the catalogue, so it cannot lag behind."""

import shlex
from collections.abc import Iterable, Sequence

from ringfence.model.errors import UsageError
from ringfence.model.event import EventKind

from . import arguments, catalogue
from . import help as help_text
from .catalogue import COMMANDS, HELP, Command
from .run_options import Option
from .terminal import put

_RUNS = 'ringfence runs --all --json 2>/dev/null | sed -n \'s/^ *"run": "\\([^"]*\\)".*/\\1/p\''


def main(name: str, words: Sequence[str]) -> int:
    """Print the script for one shell."""
    given = arguments.parse(catalogue.find(name), words)
    if given is None:
        return help_text.show([name])
    if given.words[0] not in SCRIPTS:
        raise UsageError(f"no completion for `{given.words[0]}`", hint="bash, zsh or fish")
    put(*SCRIPTS[given.words[0]]())
    return 0


def option_words(command: Command) -> str:
    """Every option of a command, separated by blanks."""
    return " ".join(name for option in (*command.options, HELP) for name in option.names)


def value_words(option: Option) -> str:
    """What an option's value can be, where that is a closed list."""
    return " ".join([kind.value for kind in EventKind] if option.takes == "kind" else option.choices)


def bash() -> Iterable[str]:
    """A completion function for bash; words behind the contained command are left to its own completion."""
    names = " ".join(command.name for command in COMMANDS)
    yield "# ringfence completion for bash"
    yield "_ringfence() {"
    yield "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} at=2"
    yield "  COMPREPLY=()"
    yield '  if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f"    COMPREPLY=($(compgen -W '{names} --help --version' -- \"$cur\")); return"
    yield "  fi"
    yield "  case $command in"
    for command in COMMANDS:
        yield f"  {command.name})"
        yield from (f"    {line}" for line in bash_command(command))
        yield "    ;;"
    yield "  esac"
    yield "}"
    yield "complete -o filenames -F _ringfence ringfence"


def bash_command(command: Command) -> Iterable[str]:
    """The body of one command's case."""
    valued = [option for option in command.options if option.value]
    if command.takes == "command":
        flags = "|".join(name for option in valued for name in option.names) or "--"
        yield "while [ $at -lt $COMP_CWORD ]; do"
        yield f"  case ${{COMP_WORDS[at]}} in {flags}) at=$((at + 2));; -*) at=$((at + 1));; *) break;; esac"
        yield "done"
        yield "if [ $at -lt $COMP_CWORD ]; then"
        yield "  if declare -F _command_offset >/dev/null; then _command_offset $at; "
        yield '  else COMPREPLY=($(compgen -f -- "$cur")); fi; return'
        yield "fi"
    if valued:
        yield "case $prev in"
        for option in valued:
            yield f"{'|'.join(option.names)}) {bash_value(option)}; return;;"
        yield "esac"
    yield 'if [ "${cur#-}" != "$cur" ]; then'
    yield f"  COMPREPLY=($(compgen -W '{option_words(command)}' -- \"$cur\")); return"
    yield "fi"
    words = f"compgen -W '{' '.join(command.words)}' -- \"$cur\"; " if command.words else ""
    more = {"command": "compgen -c", "file": "compgen -f", "run": f'compgen -W "$({_RUNS})"'}.get(command.takes, "")
    last = more or "compgen -W ''"
    yield f'COMPREPLY=($({words}{last} -- "$cur"))'


def bash_value(option: Option) -> str:
    """The statement that completes an option's value."""
    if option.takes == "directory":
        return 'COMPREPLY=($(compgen -d -- "$cur"))'
    if option.takes == "file":
        return 'COMPREPLY=($(compgen -f -- "$cur"))'
    if option.takes == "run":
        return f'COMPREPLY=($(compgen -W "$({_RUNS})" -- "$cur"))'
    return f"COMPREPLY=($(compgen -W '{value_words(option)}' -- \"$cur\"))"


def zsh() -> Iterable[str]:
    """A completion function for zsh."""
    yield "#compdef ringfence"
    yield '_ringfence_runs() { local -a runs; runs=(${(f)"$(' + _RUNS + ')"}); compadd -a runs }'
    yield "_ringfence() {"
    yield "  local -a commands"
    yield "  commands=("
    yield from (f"    {shlex.quote(f'{command.name}:{command.summary}')}" for command in COMMANDS)
    yield "  )"
    yield "  if (( CURRENT == 2 )); then _describe command commands; return; fi"
    yield "  local command=$words[2]"
    yield "  shift words; (( CURRENT-- ))"
    yield "  case $command in"
    for command in COMMANDS:
        specs = [zsh_option(option) for option in (*command.options, HELP)] + zsh_words(command)
        yield f"  {command.name})"
        yield "    _arguments -s -S \\"
        yield from (f"      {shlex.quote(spec)} \\" for spec in specs[:-1])
        yield f"      {shlex.quote(specs[-1])}"
        yield "    ;;"
    yield "  esac"
    yield "}"
    yield 'if [ "$funcstack[1]" = "_ringfence" ]; then _ringfence "$@"; else compdef _ringfence ringfence; fi'


def zsh_option(option: Option) -> str:
    """One option as a specification of `_arguments`."""
    meaning = option.meaning.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    name = max(option.names, key=len)
    if not option.value:
        return f"*{name}[{meaning}]"
    action = {"directory": "_files -/", "file": "_files", "run": "_ringfence_runs"}.get(option.takes, "")
    return f"*{name}[{meaning}]:{option.value.replace(':', ' ')}:{action or f'({value_words(option)})'}"


def zsh_words(command: Command) -> list[str]:
    """The positional words of a command as specifications."""
    if command.takes == "command":
        return ["(-)1:command:_command_names -e", "*::argument:_normal"]
    if command.words:
        return [f"1:word:({' '.join(command.words)})"] + (["*:file:_files"] if command.takes == "file" else [])
    return ["*:run:_ringfence_runs"] if command.takes == "run" else []


def fish() -> Iterable[str]:
    """Completions for fish."""
    yield "# ringfence completion for fish"
    yield "complete -c ringfence -f"
    yield "complete -c ringfence -n __fish_use_subcommand -s h -l help -d 'show help'"
    yield "complete -c ringfence -n __fish_use_subcommand -s V -l version -d 'show the version'"
    for command in COMMANDS:
        yield f"complete -c ringfence -n __fish_use_subcommand -a {command.name} -d {quoted(command.summary)}"
        condition = quoted(f"__fish_seen_subcommand_from {command.name}")
        start = f"complete -c ringfence -n {condition}"
        yield from (f"{start} {fish_option(option)}" for option in (*command.options, HELP))
        if command.words:
            yield f"{start} -a {quoted(' '.join(command.words))}"
        if command.takes == "run":
            yield f"{start} -a {quoted(f'({_RUNS})')}"
        elif command.takes == "command":
            yield f"{start} -a '(__fish_complete_subcommand)'"
        elif command.takes == "file":
            yield f"{start} -F"


def fish_option(option: Option) -> str:
    """One option as arguments of `complete`."""
    words = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.takes == "run":
        words.append(f"-r -f -a {quoted(f'({_RUNS})')}")
    elif value_words(option):
        words.append(f"-r -f -a {quoted(value_words(option))}")
    elif option.takes == "directory":
        words.append("-r -f -a '(__fish_complete_directories)'")
    elif option.value:
        words.append("-r -F" if option.takes == "file" else "-r -f")
    return " ".join([*words, "-d", quoted(option.meaning)])


def quoted(text: str) -> str:
    """`text` in fish's single quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
