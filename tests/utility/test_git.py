"""git, as people use it: everything from status to a linked worktree, with commits that arrive on the host."""

import pytest

from tests.utility.confined import Item, Place, carry_out

REPOSITORY = "cd ws; git init -q; printf 'one\\n' >a; mkdir sub; printf 'x\\n' >sub/b; git add .; git commit -qm first"
SOUND = 'cd ws && git fsck --strict --no-progress && test -z "$(git status --porcelain)"'

ITEMS = (
    Item(
        name="status-is-clean",
        before=REPOSITORY,
        script='test -z "$(git status --porcelain)"; git diff-files --quiet; git diff --exit-code HEAD',
        after=SOUND,
    ),
    Item(
        name="status-without-rehashing",
        before=REPOSITORY
        + "; i=0; while [ $i -lt 50 ]; do echo $i >f$i; i=$((i+1)); done; git add .; git commit -qm f",
        script="sleep 1; git diff-files --quiet && git update-index --really-refresh",
        after=SOUND,
    ),
    Item(
        name="commit-arrives",
        before=REPOSITORY,
        script="echo two >>a && git add a && git commit -qm second",
        after=SOUND
        + ' && test "$(git log --format=%s | head -1)" = second && test "$(cat a)" = "$(printf "one\\ntwo")"',
    ),
    Item(
        name="identity-of-the-host",
        before=REPOSITORY,
        script='test "$(git config user.name)" = "Ada Lovelace"; git commit -q --allow-empty -m e',
        after='cd ws && test "$(git log -1 --format="%an %ae %cn")" = "Ada Lovelace ada@example.org Ada Lovelace"',
    ),
    Item(
        name="add-all-without-phantoms",
        before=REPOSITORY,
        script='git add . && git add -A && git commit -q --dry-run || test $? = 1; test -z "$(git status --porcelain --ignored)"',
    ),
    Item(
        name="add-new-files",
        before=REPOSITORY,
        script="mkdir -p n/m && echo 1 >n/m/c && git add . && git commit -qm new",
        after=SOUND + " && git ls-files | grep -qx n/m/c && test -f n/m/c",
    ),
    Item(
        name="branch-and-merge",
        before=REPOSITORY,
        script="""git checkout -qb topic; echo t >t; git add t; git commit -qm t
        git checkout -q main; echo m >m; git add m; git commit -qm m; git merge -q --no-edit topic; git branch -d topic""",
        after=SOUND + ' && test "$(git rev-list --count HEAD)" = 4 && test "$(git branch --list | wc -l)" = 1',
    ),
    Item(
        name="rebase",
        before=REPOSITORY,
        script="""git checkout -qb topic; echo t >t; git add t; git commit -qm t
        git checkout -q main; echo m >m; git add m; git commit -qm m; git checkout -q topic; git rebase -q main""",
        after=SOUND + ' && test "$(git symbolic-ref --short HEAD)" = topic && test "$(git rev-list --count HEAD)" = 3',
    ),
    Item(
        name="interactive-rebase-with-an-editor",
        before=REPOSITORY,
        script="""for n in 1 2 3; do echo $n >$n; git add $n; git commit -qm $n; done
        GIT_SEQUENCE_EDITOR="sed -i '2s/pick/fixup/'" git rebase -q -i HEAD~3""",
        after=SOUND + ' && test "$(git rev-list --count HEAD)" = 3',
    ),
    Item(
        name="stash-and-pop",
        before=REPOSITORY,
        script='echo two >>a; git stash -q; test "$(cat a)" = one; git stash pop -q; grep -q two a',
        after="cd ws && grep -q two a && git fsck --strict --no-progress",
    ),
    Item(
        name="amend-reset-revert-cherry-pick",
        before=REPOSITORY,
        script="""echo 2 >a; git commit -qam 2; git commit -q --amend -m two; echo 3 >a; git commit -qam 3
        three=$(git rev-parse HEAD); git reset -q --hard HEAD~1; git cherry-pick $three >/dev/null; git revert --no-edit HEAD >/dev/null""",
        after=SOUND + ' && test "$(cat a)" = 2 && test "$(git rev-list --count HEAD)" = 4',
    ),
    Item(
        name="tags-and-describe",
        before=REPOSITORY,
        script='git tag -a v1 -m one && test "$(git describe)" = v1',
        after=SOUND + ' && test "$(git describe)" = v1',
    ),
    Item(
        name="worktree-add",
        before=REPOSITORY,
        script="git worktree add -q /tmp/topic -b topic && cd /tmp/topic && echo w >w && git add w && git commit -qm w",
        after="cd ws && git fsck --strict --no-progress && git log -1 --format=%s topic | grep -qx w",
    ),
    Item(
        name="worktree-add-in-the-workspace",
        before=REPOSITORY + "; echo .trees >.gitignore; git add .gitignore; git commit -qm ignore",
        script="git worktree add -q .trees/topic -b topic && cd .trees/topic && echo w >w && git add w && git commit -qm w && git worktree list",
        after="cd ws && git fsck --strict --no-progress",
    ),
    Item(
        name="start-in-a-linked-worktree",
        before=REPOSITORY + "; git worktree add -q ../linked -b linked",
        start="linked",
        script="git status --porcelain; echo l >l; git add l; git commit -qm from-linked",
        after="""cd linked && test -z "$(git status --porcelain)" && test "$(git log -1 --format=%s)" = from-linked
        git fsck --strict --no-progress; cd ../ws; git fsck --strict --no-progress; test "$(git log -1 --format=%s linked)" = from-linked""",
    ),
    Item(
        name="start-in-a-submodule",
        before=REPOSITORY
        + """; cd ..; git init -q lib; (cd lib; echo l >l; git add l; git commit -qm lib)
        cd ws; git -c protocol.file.allow=always submodule --quiet add ../lib lib; git commit -qm submodule""",
        start="ws/lib",
        script="git status --porcelain; echo s >s; git add s; git commit -qm in-submodule",
        after='cd ws/lib && test "$(git log -1 --format=%s)" = in-submodule && git fsck --strict --no-progress',
    ),
    Item(
        name="superproject-with-a-submodule",
        before=REPOSITORY
        + """; cd ..; git init -q lib; (cd lib; echo l >l; git add l; git commit -qm lib)
        cd ws; git -c protocol.file.allow=always submodule --quiet add ../lib lib; git commit -qm submodule""",
        script="git submodule status | grep -q lib; git -C lib log --oneline | cat; echo n >n; git add n; git commit -qm n",
        after=SOUND,
    ),
    Item(
        name="hooks-directory-is-a-symlink",
        before=REPOSITORY
        + """; mkdir -p ../shared-hooks; rm -rf .git/hooks; ln -s ../../shared-hooks .git/hooks
        printf '#!/bin/sh\\ntouch hooked\\n' >../shared-hooks/pre-commit; chmod +x ../shared-hooks/pre-commit""",
        script="git status; echo two >>a; git commit -qam second",
        after='cd ws && git fsck --strict --no-progress && test "$(git log -1 --format=%s)" = second && test -L .git/hooks',
    ),
    Item(
        name="hook-in-the-repository-runs",
        before=REPOSITORY
        + "; printf '#!/bin/sh\\ntouch hooked\\n' >.git/hooks/post-commit; chmod +x .git/hooks/post-commit",
        script="git commit -q --allow-empty -m h; test -f hooked",
    ),
    Item(
        name="log-through-a-pipe",
        before=REPOSITORY,
        script="git log | cat | grep -q first; git --no-pager log --stat >/dev/null",
    ),
    Item(
        name="blame-grep-show-shortlog",
        before=REPOSITORY,
        script="git blame a | grep -q Ada; git grep -q one; git show HEAD:a; git shortlog -s HEAD",
    ),
    Item(
        name="bisect-run",
        before=REPOSITORY + "; for n in 1 2 3 4 5 6; do echo $n >n; git add n; git commit -qm $n; done",
        script="git bisect start HEAD HEAD~5; git bisect run sh -c 'test $(cat n) -lt 4' >/tmp/log; grep -q 'first bad' /tmp/log; git bisect reset",
        after=SOUND,
    ),
    Item(
        name="format-patch-and-am",
        before=REPOSITORY,
        script="echo two >>a; git commit -qam second; git format-patch -q -1 -o /tmp; git reset -q --hard HEAD~1; git am -q /tmp/0001-second.patch",
        after=SOUND + ' && test "$(git log -1 --format=%s)" = second',
    ),
    Item(
        name="apply-a-patch",
        before=REPOSITORY,
        script="printf 'two\\n' >>a; git diff >/tmp/p; git checkout -q a; git apply /tmp/p; grep -q two a",
    ),
    Item(name="archive", before=REPOSITORY, script="git archive HEAD | tar t | grep -qx sub/b"),
    Item(
        name="gc-and-repack",
        before=REPOSITORY,
        script="for n in 1 2 3 4 5; do echo $n >a; git commit -qam $n; done; git gc -q --prune=now; git repack -adq; git fsck --no-progress",
        after=SOUND + ' && test "$(git rev-list --count HEAD)" = 6',
    ),
    Item(
        name="init-a-new-repository",
        script='git init -q && echo a >a && git add . && git commit -qm first && test -z "$(git status --porcelain)"',
        after="test -f ws/a",
    ),
    Item(
        name="clone-in-the-workspace",
        before=REPOSITORY,
        script="git clone -q . /tmp/copy && cd /tmp/copy && git log --oneline | grep -q first && echo c >c && git add c && git commit -qm c && git push -q origin HEAD:refs/heads/back",
        after='cd ws && git fsck --strict --no-progress && test "$(git log -1 --format=%s back)" = c',
    ),
    Item(
        name="clean-and-checkout-files",
        before=REPOSITORY,
        script="touch junk; rm a; git clean -fdq; git checkout -q -- a; git rm -q sub/b; git commit -qm removed",
        after=SOUND + " && test ! -e sub/b && test -f a",
    ),
    Item(
        name="names-in-unicode",
        before=REPOSITORY,
        script="echo x >'naïve – 名前.txt'; git add .; git commit -qm unicode; git -c core.quotePath=false ls-files | grep -q 名前",
        after=SOUND + " && test -f 'naïve – 名前.txt'",
    ),
    Item(
        name="start-below-the-top",
        before=REPOSITORY,
        start="ws/sub",
        script='test "$(git rev-parse --show-prefix)" = sub/; echo y >b; git commit -qam below',
        after=SOUND + ' && test "$(cat sub/b)" = y',
    ),
    Item(
        name="config-of-the-repository-for-the-run",
        before=REPOSITORY,
        script='git config core.autocrlf false && test "$(git config core.autocrlf)" = false; git config --global alias.st status; git st',
    ),
)


@pytest.mark.require("git")
@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_git(item: Item, place: Place) -> None:
    carry_out(item, place)
