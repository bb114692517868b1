"""Names whose content is run or obeyed later without being asked for: writing them is never settled by a rule.

Compared in lower case. A directory protects everything in it, wherever it is; `parent/name` means that pair.
"""

DIRECTORIES = {
    ".git": "hooks and configuration that git runs",
    ".config/git": "git's configuration",
    ".vscode": "tasks and settings of the editor",
    ".idea": "run configurations of the editor",
    ".husky": "git hooks",
    ".cargo": "what cargo runs as compiler, linker and runner",
    ".devcontainer": "commands of the development container",
    ".yarn": "programs and plugins that yarn loads",
    ".mvn": "options and extensions that maven loads",
    ".claude": "settings, hooks, agents and commands of the agent",
}

EXCEPTIONS = {".claude/worktrees": "working copies made by the agent"}

FILES = {
    name: reason
    for reason, names in {
        "configuration of git": ".gitconfig .gitmodules",
        "start-up file of a shell": ".bashrc .bash_profile .bash_login .bash_aliases .bash_logout .zshrc .zprofile "
        ".zshenv .zlogin .zlogout .profile .envrc",
        "configuration of a package manager": ".npmrc .yarnrc .yarnrc.yml .pnp.cjs .pnp.loader.mjs .pnpmfile.cjs "
        "bunfig.toml .bunfig.toml",
        "configuration of a build tool": ".bazelrc .bazelversion .bazeliskrc gradle-wrapper.properties "
        "maven-wrapper.properties",
        "git hooks": ".pre-commit-config.yaml lefthook.yml lefthook.yaml .lefthook.yml .lefthook.yaml",
        "commands of the development container": ".devcontainer.json",
        "options that a program obeys": ".ripgreprc pyrightconfig.json",
        "servers and settings of the agent": ".mcp.json .claude.json",
    }.items()
    for name in names.split()
}
