//! The table of commands: what a reader of a transcript would say about each.
//!
//! Commands start in `/r`, the user's home is `/h`, `$REPO` is `/o`.

use repod_shell::{Classified, Dir, Input, Kind, Target, classify};
use std::path::Path;

fn judge(command: &str) -> Classified {
    let variable = |name: &str| (name == "REPO").then(|| "/o".to_owned());
    let (cwd, home) = (Path::new("/r"), Some(Path::new("/h")));
    classify(&Input { command, cwd, home, variable: &variable })
}

/// `file:/r/a tree:/o dyn:/r/ in:/r opaque`, in the order found.
fn shown(verdict: &Classified) -> String {
    let mut words: Vec<String> = Vec::new();
    for target in &verdict.writes {
        words.push(match target {
            Target::File(path) => format!("file:{}", path.display()),
            Target::Tree(path) => format!("tree:{}", path.display()),
            Target::Dynamic { below: Some(path) } => format!("dyn:{}", path.display()),
            Target::Dynamic { below: None } => "dyn:?".into(),
        });
    }
    for dir in &verdict.runs_in {
        words.push(match dir {
            Dir::Known(path) => format!("in:{}", path.display()),
            Dir::Unknown => "in:?".into(),
        });
    }
    words.extend(verdict.opaque.then(|| "opaque".into()));
    words.join(" ")
}

#[track_caller]
fn all(kind: Kind, commands: &[&str]) {
    let wrong: Vec<String> = commands
        .iter()
        .map(|command| (command, judge(command)))
        .filter(|(_, verdict)| verdict.kind != kind)
        .map(|(command, verdict)| format!("{command}\n    {verdict:?}"))
        .collect();
    assert!(wrong.is_empty(), "not {kind:?}:\n{}", wrong.join("\n"));
}

#[track_caller]
fn targets(rows: &[(&str, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .map(|(command, expected)| (command, expected, judge(command)))
        .filter(|(_, expected, verdict)| {
            verdict.kind != Kind::Writing || shown(verdict) != **expected
        })
        .map(|(command, expected, verdict)| {
            format!(
                "{command}\n    expected {expected}\n    got      {}\n    {:?}",
                shown(&verdict),
                verdict.reasons
            )
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn plain_reading_needs_no_lease() {
    all(
        Kind::Reading,
        &[
            "",
            "# nothing",
            "ls",
            "ls -la --color=never src",
            "cat README.md",
            "cat -- '-odd name'",
            "/bin/cat x",
            "\\ls",
            "'ls' -l",
            "l\"s\"",
            "head -n 20 src/main.rs",
            "tail -f /dev/null",
            "wc -l *.rs",
            "grep -rn \"fn main\" src --include='*.rs'",
            "grep -E '^(a|b)$' f",
            "rg -n 'foo|bar' -g '!target' src",
            "rg --pre-glob '*.pdf' x",
            "find . -name '*.rs' -type f",
            "find . -name '*.rs' -not -path './target/*' -print0",
            "find . -name -delete",
            "find . -type f -exec grep -l foo {} +",
            "find . -type f -exec wc -l {} \\;",
            "sort -u f",
            "sort -t, -k2,2n f",
            "uniq -c f",
            "cut -d: -f1 /etc/passwd",
            "tr a-z A-Z",
            "diff -u a b",
            "cmp a b",
            "jq '.a | .b' package.json",
            "tree -L 2 -I 'node_modules|target'",
            "file x",
            "stat -c %s x",
            "du -sh .",
            "df -h",
            "ps aux",
            "env",
            "pwd",
            "date '+%Y-%m-%d'",
            "date -d yesterday",
            "date -Iseconds",
            "which git",
            "command -v git",
            "type ls",
            "test -f x",
            "[ -d src ]",
            "[[ -f a && ! -d b ]]",
            "[[ $x =~ ^a.*$ ]]",
            "basename /a/b",
            "sleep 1",
            "true",
            "xxd f",
            "od -c f",
            "sha256sum f",
            "man -k foo",
            "curl -s http://localhost:1/health",
            "tar tzf a.tgz",
            "unzip -l a.zip",
            "cargo metadata --no-deps --format-version 1",
            "cargo tree --locked",
            "cargo --version",
            "node -v",
            "go version",
            "npm ls --depth=0",
        ],
    );
}

#[test]
fn reading_with_git_needs_no_lease() {
    all(
        Kind::Reading,
        &[
            "git status",
            "git status --porcelain=v1 -z",
            "git log --oneline -5",
            "git log --format='%h %s' --since=yesterday -- src",
            "git --no-pager log -p",
            "git -C /other log",
            "git -c core.quotepath=false diff --stat HEAD~1",
            "git -c color.ui=never show HEAD:src/main.rs",
            "git diff --cached -- '*.rs'",
            "git blame -L 1,10 f",
            "git branch",
            "git branch -a",
            "git branch --list 'feature/*'",
            "git branch --show-current",
            "git branch --contains HEAD",
            "git branch -r --sort=-committerdate",
            "git tag -l 'v*'",
            "git remote -v",
            "git remote get-url origin",
            "git stash list",
            "git worktree list",
            "git reflog",
            "git config --get user.name",
            "git config user.name",
            "git config --list --show-origin",
            "git rev-parse --show-toplevel",
            "git ls-files | head",
            "git cat-file -p HEAD",
            "git grep -n foo",
            "git apply --check p.diff",
            "GIT_PAGER=cat git log",
            "git --version",
        ],
    );
}

#[test]
fn reading_through_the_shell_s_own_constructs_needs_no_lease() {
    all(
        Kind::Reading,
        &[
            "cd src && ls",
            "cd /other; git log",
            "ls && pwd || echo no",
            "ls; pwd & wait",
            "ls | grep x | sort | uniq -c | head",
            "ls |& grep x",
            "(cd src; ls)",
            "{ ls; pwd; }",
            "! grep -q x f",
            "echo $(git rev-parse HEAD)",
            "echo `date`",
            "echo \"today is $(date) in $PWD\"",
            "diff <(sort a) <(sort b)",
            "for f in *.rs; do echo \"$f\"; wc -l \"$f\"; done",
            "for f in a b; do sort $f; done",
            "if [ -f x ]; then cat x; elif [ -f y ]; then cat y; else echo none; fi",
            "while read -r line; do echo \"$line\"; done < f",
            "i=0; while [ $i -lt 3 ]; do echo $i; i=$((i+1)); done",
            "for ((i=0;i<3;i++)); do echo $i; done",
            "case $1 in a) ls;; *) pwd;; esac",
            "x=1; echo $x ${x:-2} ${#x} ${x%.rs}",
            "ls 2>/dev/null",
            "ls > /dev/null 2>&1",
            "ls &>/dev/null",
            "grep foo 2>/dev/null bar",
            "echo hi >&2",
            "cat < f",
            "cat <<EOF\nhello $USER\nEOF",
            "cat <<'EOF'\n$(rm x) `rm y`\nEOF",
            "cat <<-EOF | grep h\n\thello\n\tEOF",
            "cat - <<EOF\nx\nEOF",
            "grep x <<< \"$y\"",
            "xargs grep foo < list",
            "git ls-files | xargs wc -l",
            "find . -name x | xargs -I{} cat {}",
            "xargs -0 -n1 ls",
            "env LC_ALL=C ls",
            "LC_ALL=C TZ=UTC date",
            "time ls",
            "timeout 5 grep -r x .",
            "timeout -k 1 5s ls",
            "nice -n 10 cat f",
            "nohup cat f",
            "sudo cat /etc/hosts",
            "command ls",
            "bash -c 'ls | wc -l'",
            "sh -lc \"git log && ls\"",
            "bash -c 'bash -c \"ls\"'",
            "eval 'ls -l'",
            "f() { ls; }; f",
            "function show { cat \"$1\"; }; show x",
            "set -e; ls",
            "ls \\\n  -l",
            "echo {a,b}",
            "seq 1 3 | tee /dev/stderr",
            "sed -n '1,20p' f",
            "sed 's/a/b/g' f",
            "sed 's/[^/]*$//; s/[]/[:space:]]//' f",
            "sed -e 's/a/b/' -e '/x/d' f",
            "sed ':a;N;$!ba;s/\\n/ /g' f",
            "sed -n '/start/,/end/{p;q}' f",
            "awk '{print $1}' f",
            "awk -F: '$3 > 100 {print $1}' /etc/passwd",
            "awk '/foo|bar/ {n++} END {print n}' f",
            "awk '{ printf \"%s %d\\n\", $1, $2/2 }'",
            "exit 0",
            "echo done; exit 1; rm x",
        ],
    );
}

#[test]
fn what_writes_is_named_with_the_place() {
    targets(&[
        ("echo x > f", "file:/r/f"),
        ("echo x >> /o/f", "file:/o/f"),
        ("echo x >| f", "file:/r/f"),
        ("ls &> f", "file:/r/f"),
        ("ls >& f", "file:/r/f"),
        ("> f", "file:/r/f"),
        ("> f ls", "file:/r/f"),
        ("echo x > /tmp/scratch", "file:/tmp/scratch"),
        ("cat > 'a b' <<EOF\nx\nEOF", "file:/r/a b"),
        ("cat <<EOF > out\nx\nEOF", "file:/r/out"),
        ("cat <<EOF | tee out\nx\nEOF", "file:/r/out in:/r"),
        ("cd sub && echo x > f", "file:/r/sub/f"),
        ("(cd sub; ls) > f", "file:/r/f"),
        ("echo x > ~/f", "file:/h/f"),
        ("echo x > $HOME/f", "file:/h/f"),
        ("echo x > \"$REPO/f\"", "file:/o/f"),
        ("echo x > $PWD/f", "file:/r/f"),
        ("echo x > $(pwd)/f", "file:/r/f"),
        ("D=/o/x; echo x > $D/f", "file:/o/x/f"),
        ("echo x > out-$i.txt", "dyn:/r"),
        ("echo x > $unknown", "dyn:?"),
        ("for f in a b; do echo x > $f; done", "dyn:?"),
        ("if true; then echo x > f; fi", "file:/r/f"),
        ("echo $(echo x > f)", "file:/r/f"),
        ("touch a ../b", "file:/r/a file:/r/../b in:/r"),
        ("touch -d yesterday a", "file:/r/a in:/r"),
        ("rm -rf build", "tree:/r/build in:/r"),
        ("rm *.o", "dyn:/r in:/r"),
        ("rm src/*.o", "dyn:/r/src in:/r"),
        ("mkdir -p a/b", "tree:/r/a/b in:/r"),
        ("mv a /o/b", "tree:/r/a tree:/o/b in:/r"),
        ("cp a b /o/c", "tree:/o/c in:/r"),
        ("cp -t /o a b", "tree:/o in:/r"),
        ("ln -s a b", "tree:/r/b in:/r"),
        ("chmod +x run", "file:/r/run in:/r"),
        ("chown -R me:me /o/x", "tree:/o/x in:/r"),
        ("ls | tee -a log", "file:/r/log in:/r"),
        ("dd if=/dev/zero of=/o/disk count=1", "file:/o/disk in:/r"),
        ("sed -i 's/a/b/' f g", "file:/r/f file:/r/g in:/r"),
        ("sed -i.bak -e 's/a/b/' f", "file:/r/f in:/r"),
        ("truncate -s 0 f", "file:/r/f in:/r"),
        ("patch -p1 < x.diff", "tree:/r in:/r"),
        ("tar xzf a.tgz -C /o", "tree:/o in:/r"),
        ("tar czf /tmp/a.tgz src", "file:/tmp/a.tgz in:/r"),
        ("unzip a.zip -d out", "tree:/r/out in:/r"),
        ("curl -o f http://x", "file:/r/f in:/r"),
        ("curl -O http://x/y", "tree:/r in:/r"),
        ("wget http://x/y", "tree:/r in:/r"),
        ("make", "tree:/r in:/r"),
        ("make -C /o all", "tree:/o in:/r in:/o"),
        ("npm install", "tree:/r in:/r"),
        ("npm --prefix /o run build", "tree:/o in:/r in:/o"),
        ("cargo test", "tree:/r in:/r"),
        ("cd /o && make", "tree:/o in:/o"),
        ("cd /o; make", "tree:/o tree:/r in:/o in:/r"),
        ("cd /o || exit 1; make", "tree:/o in:/o"),
        ("cd ../o && touch x", "file:/o/x in:/o"),
        ("cd && touch x", "file:/h/x in:/h"),
        ("cd \"$nowhere\" && touch x", "dyn:? in:?"),
        ("(cd /o && make) && touch x", "tree:/o file:/r/x in:/o in:/r"),
        ("pushd /o && touch x && popd && touch y", "file:/o/x dyn:? in:/o in:?"),
        ("git commit -am x", "tree:/r in:/r"),
        ("git -C /o commit -am x", "tree:/o in:/o"),
        ("git -C /o -C sub add .", "tree:/o/sub in:/o/sub"),
        ("cd /o && git checkout -b x", "tree:/o in:/o"),
        ("git clone http://x/y.git /o/y", "tree:/o/y in:/r"),
        ("git worktree add ../w -b x", "tree:/r/../w tree:/r/x tree:/r in:/r"),
        ("env -C /o make", "tree:/o in:/o"),
        ("sudo touch /o/x", "file:/o/x in:/r"),
        ("timeout 9 make", "tree:/r in:/r"),
        ("bash -c 'cd /o && make'", "tree:/o in:/o"),
        ("eval 'echo x > f'", "file:/r/f"),
        ("find . -name x -exec rm {} +", "dyn:/r in:/r"),
        ("find /o -name x -exec rm {} +", "dyn:/o in:/r"),
        ("for f in /o/*; do rm \"$f\"; done", "dyn:? in:/r"),
        ("rm {/o/a,b}", "dyn:? tree:/r in:/r opaque"),
        ("f() { touch x; }; cd /o && f", "file:/o/x in:/o"),
        ("for i in 1 2; do touch a; cd ..; done", "file:/r/a file:/a dyn:? in:/r in:/ in:?"),
        ("python3 x.py", "tree:/r in:/r opaque"),
        ("cd /o && python3 - <<'EOF'\nprint(1)\nEOF", "tree:/o in:/o opaque"),
        (
            "cd /o && git add -A && git commit -m \"$(cat <<'EOF'\nit's\n\nso\nEOF\n)\"",
            "tree:/o in:/o",
        ),
        ("npm test 2>&1 | tail -5 > log", "tree:/r file:/r/log in:/r"),
        ("./run.sh", "tree:/r in:/r opaque"),
        ("cd /o && ./run.sh", "tree:/o in:/o opaque"),
        ("bash script.sh", "tree:/r in:/r opaque"),
        ("$EDITOR f", "tree:/r in:/r opaque"),
    ]);
}

#[test]
fn options_that_make_a_reading_program_write_are_seen() {
    all(
        Kind::Writing,
        &[
            "find . -delete",
            "find . -exec rm {} \\;",
            "find . -execdir sh -c 'rm x' \\;",
            "find . -ok rm {} \\;",
            "find . -okdir rm {} \\;",
            "find . -fprint f",
            "find . -fprintf f '%p'",
            "find . -fls f",
            "find . $what",
            "find . \"$what\"",
            "sort -o f f",
            "sort -of f",
            "sort -uo f f",
            "sort --output=f f",
            "sort --out f f",
            "sort --compress-program=./x f",
            "sort -S 1b --compress-program sh f",
            "sort $opts f",
            "uniq in out",
            "xxd -r dump out",
            "xxd in out",
            "tree -o f",
            "tree -Lo 2 f",
            "tree -R -H . -L 2",
            "file -C -m magic",
            "date -s '2020-01-01'",
            "date --set=x",
            "date 010100002030",
            "hostname evil",
            "less -o log f",
            "less '+!rm x' f",
            "man -P 'rm x' ls",
            "man --pager=./x ls",
            "man -H./x ls",
            "rg --pre ./x foo",
            "rg --pre=./x foo",
            "rg --hostname-bin ./x foo",
            "ag --pager ./x foo",
            "fd -x rm",
            "fd -X rm",
            "fd -gx rm",
            "fd --exec-batch rm",
            "bat --pager ./x f",
            "yq -i '.a=1' f",
            "base64 -o f x",
            "sed -i s/a/b/ f",
            "sed -ni p f",
            "sed --in-place=.b s/a/b/ f",
            "sed -n 'w out' f",
            "sed 's/a/b/w out' f",
            "sed 's/[/]/x/w out' f",
            "sed 's/x/[/w out' f",
            "sed 'y/[/]/;w out' f",
            "sed 's/a/touch x/e' f",
            "sed '1e touch x' f",
            "sed -f script f",
            "sed \"$script\" f",
            "sed '#\\\nw out' f",
            "awk '{print > \"f\"}' f",
            "awk '{print $1 >> \"f\"}' f",
            "awk '{printf \"x\" > $2}' f",
            "awk 'BEGIN { system(\"rm x\") }'",
            "awk 'BEGIN { \"rm x\" | getline }'",
            "awk '{ print | \"sh\" }' f",
            "awk -f prog f",
            "awk -i inplace '{print}' f",
            "awk 'BEGIN { return /\"/; system(\"rm x\"); \"",
            "awk 'function f() { return /\"/; system(\"rm x\"); \" }'",
            "jq . f > f",
            "tar xf a.tar",
            "tar tf a.tar --to-command=./x",
            "tar tf a.tar --checkpoint=1 --checkpoint-action=exec=./x",
            "tar tIf ./x a.tar",
            "curl -d x=1 http://localhost:1/",
            "curl -X POST http://localhost:1/vcs/apply",
            "curl -T f http://x",
            "curl -K conf",
            "curl --output f http://x",
            "wget -qO- http://x",
            "cargo metadata",
            "cargo build",
            "cargo --config x metadata --no-deps",
            "printf -v PATH /x",
            "hash -p ./x ls",
            "command -p rm x",
            "env -S 'rm x'",
            "xargs rm",
            "xargs sort",
            "xargs find",
            "xargs -I% sh -c '%'",
            "xargs --arg-file=x rm",
        ],
    );
}

#[test]
fn git_that_writes_or_runs_is_seen() {
    all(
        Kind::Writing,
        &[
            "git add .",
            "git commit",
            "git fetch",
            "git pull",
            "git push",
            "git stash",
            "git stash push",
            "git stash pop",
            "git checkout .",
            "git branch new",
            "git branch -d old",
            "git branch -m a b",
            "git branch --color new",
            "git branch --set-upstream-to=x",
            "git branch --edit-description",
            "git tag v1",
            "git tag --sort=x v1",
            "git tag -d v1",
            "git config user.name x",
            "git config --unset user.name",
            "git config set a.b c",
            "git config --global core.pager ./x",
            "git config -e",
            "git remote add a b",
            "git remote prune origin",
            "git worktree add x",
            "git worktree prune",
            "git reflog expire --all",
            "git symbolic-ref HEAD refs/heads/x",
            "git log --output=f",
            "git log --output f",
            "git log --outp=f",
            "git diff --output=f",
            "git diff --ext-diff",
            "git grep -Oless foo",
            "git grep --open-files-in-pager=./x foo",
            "git grep --open foo",
            "git grep -lO./x foo",
            "git ls-remote 'ext::sh -c touch% x'",
            "git ls-remote --upload-pack=./x host",
            "git -c core.pager=./x log",
            "git -c alias.log='!rm x' log",
            "git -c core.fsmonitor=./x status",
            "git -c diff.external=./x diff",
            "git --exec-path=. log",
            "git --git-dir=/x/.git log",
            "git --config-env=core.pager=X log",
            "git unknown-alias",
            "git submodule foreach 'rm x'",
            "git bisect run ./x",
            "git $sub",
            "git log $opts",
            "git apply p.diff",
            "git apply --check --apply p.diff",
            "git hash-object -w f",
            "git rebase -x 'rm x' HEAD~1",
            "git archive -o f HEAD",
            "GIT_EXTERNAL_DIFF=./x git diff",
            "GIT_PAGER=./x git log",
            "PAGER=./x git log",
            "GIT_DIR=/x git log",
            "env GIT_SSH_COMMAND=./x git ls-remote x",
            "export GIT_EXTERNAL_DIFF=./x; git diff",
            "GIT_EXTERNAL_DIFF=./x; git diff",
        ],
    );
}

/// How the lists of other agents were fooled, or could have been: each of these ran something, or
/// wrote, under a list that took it for reading.
#[test]
fn known_ways_past_such_lists_are_closed() {
    all(
        Kind::Writing,
        &[
            // The first command only was looked at.
            "ls && rm x",
            "ls; rm x",
            "ls\nrm x",
            "ls | sh",
            "ls & rm x",
            "true || rm x && rm y",
            "echo hi > ~/.bashrc",
            // Fifty harmless ones, then one that isn't.
            &format!("{}rm x", "true; ".repeat(60)),
            // Substitutions, in all the places they may stand.
            "echo $(rm x)",
            "echo `rm x`",
            "echo \"$(rm x)\"",
            "echo \"${x:-$(rm x)}\"",
            "cat <(rm x)",
            "cat <<EOF\n$(rm x)\nEOF",
            "cat <<EOF\n`rm x`\nEOF",
            "x=$(rm x)",
            "[ -n \"$(rm x)\" ]",
            "[[ $(rm x) ]]",
            "case $(rm x) in a) ;; esac",
            "for f in $(rm x); do ls; done",
            "grep x <<< $(rm x)",
            "ls > $(rm x)",
            // Contents of variables that are evaluated.
            "echo $[ x='a[$(touch F)]', x ]",
            "x='a[$(touch F)]'; echo $((x))",
            "x='a[$(touch F)]'; ((x))",
            "x='$(touch F)'; echo ${x@P}",
            "x='a[$(touch F)]'; echo ${!x}",
            "x='a[$(touch F)]'; [[ $x -eq 1 ]]",
            "[[ 'a[$(touch F)]' -eq 1 ]]",
            "[[ -v 'a[$(touch F)]' ]]",
            "test -v 'a[$(touch F)]'",
            "printf -v 'a[$(touch F)]' x",
            "read 'a[$(touch F)]'",
            "echo ${a[$(touch F)]}",
            "let 'a[$(touch F)]=1'",
            "declare -i x='a[$(touch F)]'",
            "declare 'a[$(touch F)]=1'",
            "unset 'a[$(touch F)]'",
            // Variables that change what programs do.
            "PATH=.:$PATH ls",
            "PATH=.; ls",
            "export PATH=.:$PATH; ls",
            "read PATH; ls",
            "for PATH in .; do ls; done",
            "LD_PRELOAD=./x.so ls",
            "env LD_PRELOAD=./x.so ls",
            "LESSOPEN='|./x %s' less f",
            "BASH_ENV=./x bash -c ls",
            "IFS=x; ls",
            "RIPGREP_CONFIG_PATH=./x rg foo",
            "PROMPT_COMMAND='rm x'; ls",
            // Names that are taken over.
            "alias ls='rm x'; ls",
            "ls() { rm x; }; ls",
            "git() { rm x; }; git log",
            "(f() { ls; }); f",
            "f() { ls; }; f() { rm x; }; f",
            "if true; then f() { rm x; }; fi; f",
            "trap 'rm x' EXIT",
            "enable -f ./x ls",
            ". ./x",
            "source x",
            "eval \"$x\"",
            "eval rm x",
            "exec rm x",
            "builtin eval 'rm x'",
            "command rm x",
            "bash -c \"$x\"",
            "bash -c 'rm x'",
            "bash <<EOF\nrm x\nEOF",
            "echo 'rm x' | bash",
            "bash <(echo rm x)",
            "sh -c 'sh -c \"rm x\"'",
            // Wrappers.
            "time rm x",
            "nohup rm x",
            "timeout 5 rm x",
            "nice rm x",
            "stdbuf -oL rm x",
            "sudo rm x",
            "sudo -i",
            "env rm x",
            "find . | xargs rm",
            "find . | xargs -I{} rm {}",
            "parallel rm ::: x",
            "busybox rm x",
            "strace -o f ls",
            "script -c 'rm x'",
            "watch rm x",
            "ssh host rm x",
            "vim -c ':!rm x' -c q",
            "perl -e 'unlink \"x\"'",
            "python3 -c 'open(\"f\",\"w\")'",
            "node -e 'x'",
            // Parsers that differ: what is white space, what ends a word or a line.
            "ls\rrm x",
            "ls\u{a0}x",
            "ls \u{b}x",
            "echo 'a' \u{2028} rm x",
            "cat <<EOF; rm x\nhi\nEOF",
            "cat <<EOF && rm x\nhi\nEOF",
            "cat <<E'O'F\nhi\nEOF\nrm x",
            "cat <<\"\"\nhi\n\nrm x",
            "echo \\`rm x`",
            "r\\m x",
            "r''m x",
            "$'rm' x",
            "$(echo rm) x",
            "${x:-rm} x",
            "{rm,x}",
            "r* x",
            "ls {a,$(rm x)}",
            "=ls",
            "ls *(e:'rm x':)",
            "cat =(rm x)",
            "echo x >> $((1))f",
            "coproc rm x",
            "{ rm x; } 2>/dev/null",
            "! rm x",
            "if rm x; then ls; fi",
            "while rm x; do ls; done",
            "select f in a; do rm x; done",
            "echo hi 2>/dev/null >f",
            "grep x 2>/dev/null > f y",
            "cat <> f",
            "sort 2>/dev/null f -o g",
            "((",
            "ls (",
            "'",
            "if",
        ],
    );
}

#[test]
fn a_command_too_long_or_too_deep_is_not_judged() {
    for command in [
        format!("ls {}", "a".repeat(repod_shell::MAX_COMMAND)),
        format!("{}ls{}", "(".repeat(500), ")".repeat(500)),
        format!("{}ls{}", "$(".repeat(300), ")".repeat(300)),
        "f() { f; }; f".to_owned(),
        format!("echo {}", "\"$(".repeat(400)),
        format!("{}ls", "bash -c ".repeat(3000)),
        format!("{}ls", "env ".repeat(3000)),
        // Where mending an error is quadratic.
        "ls|".repeat(21_000),
        "${".repeat(32_000),
    ] {
        let verdict = judge(&command);
        assert_eq!(verdict.kind, Kind::Writing, "{}…", &command[..20]);
        assert!(verdict.opaque, "{}…: {verdict:?}", &command[..20]);
    }
}

#[test]
fn a_command_that_belongs_to_another_directory_says_so() {
    let inside = |path: &Path| path.starts_with("/o");
    for command in [
        "cd /o && make",
        "git -C /o commit -am x",
        "cd /o/sub && touch a ../b",
        "touch /o/x; :",
        "cd /o && ./x",
    ] {
        let verdict = judge(command);
        let at_home = verdict.runs_in == [Dir::Known("/r".into())];
        assert!(verdict.belongs(inside) || at_home, "{command}: {verdict:?}");
    }
    for command in
        ["cd /o; make", "cd /o && make && touch /r/x", "make", "cd $x && make", "echo x > $x"]
    {
        assert!(!judge(command).belongs(inside), "{command}");
    }
}

#[test]
fn reasons_can_be_read() {
    let said = |command: &str| judge(command).reasons.first().map(ToString::to_string);
    assert_eq!(
        said("sort -o f f").as_deref(),
        Some("`sort` writes or runs programs because of `-o`")
    );
    assert_eq!(said("frobnicate").as_deref(), Some("`frobnicate` is not known to only read"));
    assert_eq!(said("echo x > f").as_deref(), Some("output goes to `f`"));
}
