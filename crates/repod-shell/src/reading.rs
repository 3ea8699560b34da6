//! Programs that read, and what makes some of them write or run another.

use crate::builtins::BUILTINS;
use crate::options::{Parsed, Spec, parse};
use crate::state::State;
use crate::walk::Walk;
use crate::word::Word;

/// Programs no option of which writes a file or runs a program.
const PLAIN: &[&str] = &[
    "ls",
    "dir",
    "vdir",
    "cat",
    "head",
    "tail",
    "wc",
    "cut",
    "tr",
    "nl",
    "tac",
    "rev",
    "fold",
    "fmt",
    "expand",
    "unexpand",
    "paste",
    "join",
    "comm",
    "cmp",
    "diff",
    "diff3",
    "od",
    "hexdump",
    "hd",
    "strings",
    "basename",
    "dirname",
    "realpath",
    "readlink",
    "stat",
    "du",
    "df",
    "ps",
    "pwd",
    "echo",
    "printf",
    "true",
    "false",
    ":",
    "test",
    "[",
    "sleep",
    "seq",
    "uname",
    "whoami",
    "id",
    "groups",
    "uptime",
    "free",
    "nproc",
    "arch",
    "tty",
    "users",
    "who",
    "w",
    "lscpu",
    "lsblk",
    "pgrep",
    "pidof",
    "pstree",
    "printenv",
    "locale",
    "md5sum",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "b2sum",
    "cksum",
    "sum",
    "factor",
    "numfmt",
    "tsort",
    "column",
    "colrm",
    "grep",
    "egrep",
    "fgrep",
    "zgrep",
    "zcat",
    "bzcat",
    "xzcat",
    "look",
    "jq",
    "which",
    "whereis",
    "getent",
    "egrep",
    "pathchk",
    "tldr",
    "apropos",
    "whatis",
    "cal",
    "bc",
    "expr",
    "nm",
    "size",
    "lsmod",
    "vmstat",
    "iostat",
    "nslookup",
    "dig",
    "host",
];

/// A program that reads unless it is given one of these.
struct Reader {
    names: &'static [&'static str],
    /// Short options that make it write.
    short: &'static str,
    /// Long ones; any beginning of them counts.
    long: &'static [&'static str],
    spec: Spec,
    /// More operands than this, and the last one is written.
    operands: usize,
}

const NO_SPEC: Spec = Spec { valued: "", long_valued: &[], glued: "" };
const ANY: usize = usize::MAX;

const READERS: &[Reader] = &[
    Reader {
        names: &["rg"],
        short: "",
        long: &["--pre", "--hostname-bin"],
        spec: Spec {
            valued: "efgtTABCmMjrEd",
            long_valued: &[
                "--glob",
                "--type",
                "--regexp",
                "--file",
                "--iglob",
                "--sort",
                "--max-depth",
            ],
            glued: "",
        },
        operands: ANY,
    },
    Reader { names: &["ag"], short: "", long: &["--pager"], spec: NO_SPEC, operands: ANY },
    Reader {
        names: &["fd", "fdfind"],
        short: "xX",
        long: &["--exec", "--exec-batch"],
        spec: Spec {
            valued: "edtEScjo",
            long_valued: &["--extension", "--type", "--exclude"],
            glued: "",
        },
        operands: ANY,
    },
    Reader {
        names: &["sort", "gsort"],
        short: "oT",
        long: &["--output", "--compress-program", "--temporary-directory"],
        spec: Spec { valued: "ktS", long_valued: &["--key", "--field-separator"], glued: "" },
        operands: ANY,
    },
    Reader {
        names: &["uniq"],
        short: "",
        long: &[],
        spec: Spec { valued: "fsw", long_valued: &[], glued: "" },
        operands: 1,
    },
    Reader {
        names: &["xxd"],
        short: "r",
        long: &["-revert"],
        spec: Spec { valued: "clsogn", long_valued: &[], glued: "" },
        operands: 1,
    },
    Reader {
        names: &["tree"],
        short: "oR",
        long: &["--output"],
        spec: Spec { valued: "", long_valued: &[], glued: "" },
        operands: ANY,
    },
    Reader {
        names: &["file"],
        short: "C",
        long: &["--compile"],
        spec: Spec { valued: "mFfPe", long_valued: &[], glued: "" },
        operands: ANY,
    },
    Reader {
        names: &["less", "more", "most"],
        short: "oOkKTtjp",
        long: &["--log-file", "--LOG-FILE", "--lesskey", "--tag"],
        spec: NO_SPEC,
        operands: ANY,
    },
    Reader {
        names: &["bat", "batcat"],
        short: "",
        long: &["--pager", "--generate", "--config"],
        spec: Spec { valued: "lrHm", long_valued: &["--language", "--line-range"], glued: "" },
        operands: ANY,
    },
    Reader { names: &["exa", "eza", "lsd"], short: "", long: &[], spec: NO_SPEC, operands: ANY },
    Reader {
        names: &["date", "gdate"],
        short: "s",
        long: &["--set"],
        spec: Spec { valued: "dfr", long_valued: &["--date", "--file", "--reference"], glued: "" },
        operands: ANY,
    },
    Reader {
        names: &["hostname"],
        short: "bF",
        long: &["--boot", "--file"],
        spec: NO_SPEC,
        operands: 0,
    },
    Reader {
        names: &["base64", "base32", "basenc"],
        short: "o",
        long: &["--output"],
        spec: Spec { valued: "w", long_valued: &["--wrap"], glued: "" },
        operands: 1,
    },
    Reader {
        names: &["iconv"],
        short: "o",
        long: &["--output"],
        spec: Spec { valued: "ft", long_valued: &[], glued: "" },
        operands: ANY,
    },
    Reader {
        names: &["yq"],
        short: "is",
        long: &["--inplace", "--split-exp", "--in-place"],
        spec: NO_SPEC,
        operands: ANY,
    },
    Reader {
        names: &["shuf"],
        short: "o",
        long: &["--output"],
        spec: Spec { valued: "ni", long_valued: &[], glued: "" },
        operands: ANY,
    },
    Reader {
        names: &["sdiff"],
        short: "o",
        long: &["--output", "--diff-program"],
        spec: NO_SPEC,
        operands: ANY,
    },
    Reader {
        names: &["man"],
        short: "PHCRTXZl",
        long: &[
            "--pager",
            "--html",
            "--config-file",
            "--gxditview",
            "--troff-device",
            "--preprocessor",
        ],
        spec: NO_SPEC,
        operands: ANY,
    },
    Reader { names: &["lsof"], short: "D", long: &[], spec: NO_SPEC, operands: ANY },
    Reader {
        names: &["ss", "netstat"],
        short: "KD",
        long: &["--kill", "--diag"],
        spec: NO_SPEC,
        operands: ANY,
    },
    Reader {
        names: &["cloc", "tokei", "scc"],
        short: "o",
        long: &[
            "--out",
            "--report-file",
            "--output",
            "--exec",
            "--extract-with",
            "--config",
            "--diff",
            "--write",
            "--sql",
            "--strip-comments",
            "--categorized",
            "--counted",
            "--found",
            "--ignored",
        ],
        spec: NO_SPEC,
        operands: ANY,
    },
    Reader { names: &["objdump", "readelf"], short: "", long: &[], spec: NO_SPEC, operands: ANY },
];

/// Whether a function of this name would hide a program or builtin that is judged here.
pub(crate) fn is_known(name: &str) -> bool {
    PLAIN.contains(&name)
        || BUILTINS.contains(&name)
        || READERS.iter().any(|reader| reader.names.contains(&name))
        || matches!(
            name,
            "git"
                | "find"
                | "sed"
                | "awk"
                | "xargs"
                | "env"
                | "sudo"
                | "bash"
                | "sh"
                | "curl"
                | "tar"
        )
        || crate::writers::is_known(name)
}

/// Judges a reading program; false when `program` is none.
pub(crate) fn reading(
    walk: &mut Walk<'_, '_>,
    program: &str,
    args: &[Word],
    state: &State,
) -> bool {
    if PLAIN.contains(&program) {
        return true;
    }
    let Some(reader) = READERS.iter().find(|reader| reader.names.contains(&program)) else {
        return false;
    };
    // `date -Iseconds`: the value is always glued.
    let glued = |word: &&Word| !(reader.names.contains(&"date") && word.prefix().starts_with("-I"));
    let args: Vec<Word> = args.iter().filter(glued).cloned().collect();
    let parsed = parse(&args, reader.spec);
    if let Some(why) = spoils(program, reader, &parsed) {
        if program == "sort" && !parsed.hidden {
            // The one whose output people do name this way.
            for to in parsed.values(&["--output"]) {
                walk.writes(to, state, false);
            }
        }
        walk.option(program, &why, state);
    }
    true
}

/// What makes it write, if anything does.
fn spoils(program: &str, reader: &Reader, parsed: &Parsed<'_>) -> Option<String> {
    for (name, _) in &parsed.options {
        let bad = match name.strip_prefix("--") {
            // Any beginning of a long option may stand for it. A whole one that is the beginning of
            // another (`--pre` of `--pre-glob`) is that itself.
            Some(_) => reader.long.iter().any(|long| long.starts_with(name.as_str())),
            None => name.chars().skip(1).any(|letter| reader.short.contains(letter)),
        };
        if bad {
            return Some(name.clone());
        }
    }
    let guarded = !reader.short.is_empty() || !reader.long.is_empty();
    if guarded && parsed.hidden {
        return Some("an option only the shell knows".into());
    }
    let open = parsed.operands.iter().any(|word| word.fixed().is_none());
    if parsed.operands.len() > reader.operands || (open && reader.operands != ANY) {
        return Some("a file to write".into());
    }
    let odd = |word: &&&Word| match program {
        // Sets the clock.
        "date" | "gdate" => !word.prefix().starts_with('+'),
        // A command to begin with; or the cache being built.
        "less" | "more" | "most" => word.prefix().starts_with('+'),
        "bat" | "batcat" => word.fixed() == Some("cache"),
        _ => false,
    };
    parsed.operands.iter().find(odd).map(|word| word.prefix().to_owned())
}
