# Shared by ./run, ./test and ./bench: what a fresh machine must have, and what is fetched for it.
# shellcheck shell=bash

OPENCODE_VERSION=1.18.33
RIPGREP_VERSION=1.18.0
SDK_VERSION=1.19.3
TYPESCRIPT_VERSION=5.9.3
NODE_TYPES_VERSION=24.12.2
BUN_VERSION=1.4.5
MCP_SDK_VERSION=1.32.2
ACP_SDK_VERSION=2.4.0
ZOD_VERSION=4.6.7
# Its parser tests are run against the gateway.
GUNICORN_VERSION=27.0.1
GUNICORN_SHA256=b1514965361c8b7e8107a80aa2a92636878df1ccfac6dd204a676426e04d9e3e

# The project's own folder of fetched tools; nothing outside it is installed or changed, but for tmux, PostgreSQL and
# Chromium.
TOOLS="${REPOD_TOOLS:-$PROJECT/.tools}"

die() { printf 'error: %s\n' "$1" >&2; [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2; exit 1; }
say() { [ -n "${REPOD_QUIET:-}" ] || printf '%s\n' "$1" >&2; }

# need COMMAND WHAT-FOR HOW-TO-INSTALL
need() { command -v "$1" >/dev/null 2>&1 || die "\`$1\` is missing: it is needed for $2" "$3"; }

need_rust() {
  need cargo "building repod" "install Rust with rustup (rust-toolchain.toml names the version), or Debian's rustup package"
  need cc "linking" "apt-get install build-essential"
}
need_git() { need git "finding repositories" "apt-get install git"; }
# Installed where that can be done without asking (as root, on Debian or Ubuntu); else it is said.
need_tmux() {
  if ! command -v tmux >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing tmux with apt-get: the tests of OpenCode's terminal interface drive it ..."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq tmux; } >/dev/null 2>&1 || true
  fi
  need tmux "the tests of OpenCode's terminal interface" "apt-get install tmux"
}
# The newest PostgreSQL server there is: its programs are not on the PATH on Debian.
postgres_bin() {
  local found
  for found in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(command -v initdb 2>/dev/null | xargs -r dirname)"; do
    [ -x "$found/initdb" ] && [ -x "$found/postgres" ] && { printf '%s\n' "$found"; return; }
  done
  return 1
}
# Likewise. The package must not start a server of its own for that.
need_postgres() {
  [ -n "${REPOD_PG_BIN:-}" ] && { export REPOD_PG_BIN; return; }
  if ! postgres_bin >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing PostgreSQL with apt-get: the store is tested on a real one ..."
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
      mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      -o Dpkg::Options::=--force-confold postgresql; } >/dev/null 2>&1 || true
  fi
  REPOD_PG_BIN=$(postgres_bin) || die "PostgreSQL's server (\`initdb\`, \`postgres\`) is missing: the store is tested on a real one" \
    "apt-get install postgresql, or set REPOD_PG_BIN to the directory of its programs"
  export REPOD_PG_BIN
}
need_npm() { need npm "fetching OpenCode" "apt-get install npm"; }

# Whether a version is one repod supports: 1.18 or newer, not 2.
supported() {
  local major minor rest
  IFS=. read -r major minor rest <<<"$1"
  [ "${major:-0}" = 1 ] && [ "${minor:-0}" -ge 18 ] 2>/dev/null
}

# The platform package that npm chose for this machine holds the executable.
platform_opencode() {
  local arch flavour=
  case "$(uname -m)" in
    x86_64) arch=x64; grep -q -m1 avx2 /proc/cpuinfo || flavour=-baseline ;;
    aarch64) arch=arm64 ;;
    *) die "no OpenCode for $(uname -m): repod runs on x86-64 and arm64" ;;
  esac
  # glibc or musl: npm has fetched what fits.
  local name
  for name in "opencode-linux-$arch$flavour" "opencode-linux-$arch$flavour-musl"; do
    [ -x "$1/node_modules/$name/bin/opencode" ] && { printf '%s\n' "$1/node_modules/$name/bin/opencode"; return; }
  done
  return 1
}

# Fetches pinned OpenCode (and ripgrep, which OpenCode's search tools need) from npm, once.
fetch_opencode() {
  local dir="$TOOLS/opencode-$OPENCODE_VERSION"
  if ! platform_opencode "$dir" >/dev/null; then
    need_npm
    say "fetching opencode-ai@$OPENCODE_VERSION from npm (once) ..."
    mkdir -p "$dir"
    # No install scripts: the executable lies ready in the platform package.
    npm install --prefix "$dir" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
      "opencode-ai@$OPENCODE_VERSION" "@vscode/ripgrep@$RIPGREP_VERSION" >&2 \
      || die "npm could not fetch opencode-ai@$OPENCODE_VERSION" "is the npm registry reachable? or set REPOD_OPENCODE to an opencode you have"
  fi
  REPOD_OPENCODE=$(platform_opencode "$dir") || die "npm fetched no OpenCode for this machine" "set REPOD_OPENCODE to an opencode you have"
  export REPOD_OPENCODE
}

# Fetches the SDK (and the compiler that checks the client's types) from npm, once; for tests only.
fetch_sdk() {
  local dir="$TOOLS/sdk-$SDK_VERSION-$TYPESCRIPT_VERSION"
  if [ ! -d "$dir/node_modules/@opencode-ai/sdk" ] || [ ! -d "$dir/node_modules/typescript" ]; then
    need_npm
    say "fetching @opencode-ai/sdk@$SDK_VERSION from npm (once) ..."
    mkdir -p "$dir"
    npm install --prefix "$dir" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
      "@opencode-ai/sdk@$SDK_VERSION" "typescript@$TYPESCRIPT_VERSION" "@types/node@$NODE_TYPES_VERSION" >&2 \
      || die "npm could not fetch @opencode-ai/sdk@$SDK_VERSION" "is the npm registry reachable?"
  fi
  export REPOD_SDK="$dir/node_modules"
  # Where the client's own sources and tests look for it.
  ln -sfn "$REPOD_SDK" "$PROJECT/clients/typescript/node_modules"
}

# Fetches Bun from npm, once: the client promises to work there as well; for tests only.
fetch_bun() {
  local dir="$TOOLS/bun-$BUN_VERSION" package
  case "$(uname -m)" in
    x86_64) package=@oven/bun-linux-x64; grep -q -m1 avx2 /proc/cpuinfo || package+=-baseline ;;
    aarch64) package=@oven/bun-linux-aarch64 ;;
    *) die "no Bun for $(uname -m)" ;;
  esac
  REPOD_BUN="$dir/node_modules/$package/bin/bun"
  if [ ! -x "$REPOD_BUN" ]; then
    need_npm
    say "fetching $package@$BUN_VERSION from npm (once) ..."
    mkdir -p "$dir"
    npm install --prefix "$dir" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
      "$package@$BUN_VERSION" >&2 || die "npm could not fetch $package@$BUN_VERSION" "is the npm registry reachable?"
  fi
  export REPOD_BUN
}

# Fetches the official TypeScript SDK of the Model Context Protocol from npm, once: the client that the
# tests of `repod mcp` speak with; for tests only.
fetch_mcp_sdk() {
  local dir="$TOOLS/mcp-sdk-$MCP_SDK_VERSION"
  if [ ! -d "$dir/node_modules/@modelcontextprotocol/sdk/dist" ]; then
    need_npm
    say "fetching @modelcontextprotocol/sdk@$MCP_SDK_VERSION from npm (once) ..."
    mkdir -p "$dir"
    npm install --prefix "$dir" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error \
      "@modelcontextprotocol/sdk@$MCP_SDK_VERSION" >&2 \
      || die "npm could not fetch @modelcontextprotocol/sdk@$MCP_SDK_VERSION" "is the npm registry reachable?"
  fi
  export REPOD_MCP_SDK="$dir/node_modules"
}

# Fetches the official TypeScript SDK of the Agent Client Protocol from npm, once: the editor's side that the
# tests of `repod acp` speak with; for tests only.
fetch_acp_sdk() {
  local dir="$TOOLS/acp-sdk-$ACP_SDK_VERSION"
  if [ ! -d "$dir/node_modules/@agentclientprotocol/sdk/dist" ] || [ ! -d "$dir/node_modules/zod" ]; then
    need_npm
    say "fetching @agentclientprotocol/sdk@$ACP_SDK_VERSION from npm (once) ..."
    mkdir -p "$dir"
    # Its optional half for MCP is not needed.
    npm install --prefix "$dir" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error --legacy-peer-deps \
      "@agentclientprotocol/sdk@$ACP_SDK_VERSION" "zod@$ZOD_VERSION" >&2 \
      || die "npm could not fetch @agentclientprotocol/sdk@$ACP_SDK_VERSION" "is the npm registry reachable?"
  fi
  export REPOD_ACP_SDK="$dir/node_modules"
}

# Installed where that can be done without asking. REPOD_CHROMIUM names another Chromium or Chrome.
need_chromium() {
  local found
  if [ -z "${REPOD_CHROMIUM:-}" ]; then
    for found in chromium chromium-browser google-chrome; do
      command -v "$found" >/dev/null 2>&1 && { REPOD_CHROMIUM=$(command -v "$found"); break; }
    done
  fi
  if [ -z "${REPOD_CHROMIUM:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing Chromium with apt-get: the dashboard is tested in a real browser ..."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      chromium fonts-dejavu-core; } >/dev/null 2>&1 || true
    REPOD_CHROMIUM=$(command -v chromium 2>/dev/null || true)
  fi
  [ -x "${REPOD_CHROMIUM:-}" ] || die "Chromium is missing: the dashboard is tested in a real browser" \
    "apt-get install chromium, or set REPOD_CHROMIUM to a Chromium or Chrome you have"
  export REPOD_CHROMIUM
}

# Fetches what the dashboard is built and tested with from npm, as its lockfile says.
fetch_web() {
  local dir="$PROJECT/web" stamp
  stamp="$dir/node_modules/.repod-lock"
  if ! cmp -s "$dir/package-lock.json" "$stamp"; then
    need_npm
    say "fetching the dashboard's packages from npm (once) ..."
    npm ci --prefix "$dir" --loglevel=error >&2 || die "npm could not fetch the packages of web/" "is the npm registry reachable?"
    cp "$dir/package-lock.json" "$stamp"
  fi
}

# The built dashboard is checked in, so that building repod needs no Node; it must be what its sources make.
check_web() {
  local built
  built=$(mktemp -d)
  node "$PROJECT/web/build.js" "$built" >/dev/null
  if ! diff -rq "$PROJECT/web/dist" "$built" >&2; then
    rm -r "$built"
    die "web/dist is not what web/src makes" "npm run --prefix web build, and commit web/dist"
  fi
  rm -r "$built"
}

# Fetches the HTTP parser tests of a peer (gunicorn's, in its source package on PyPI), once; for tests only.
fetch_http_cases() {
  local dir="$TOOLS/gunicorn-$GUNICORN_VERSION"
  if [ ! -d "$dir/tests/requests/invalid" ]; then
    need python3 "fetching parser tests from PyPI" "apt-get install python3 python3-pip"
    python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: it is needed for fetching parser tests from PyPI" "apt-get install python3-pip"
    say "fetching gunicorn $GUNICORN_VERSION's parser tests from PyPI (once) ..."
    mkdir -p "$dir"
    printf 'gunicorn==%s --hash=sha256:%s\n' "$GUNICORN_VERSION" "$GUNICORN_SHA256" >"$dir/requirements.txt"
    timeout 300 python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary gunicorn \
      --require-hashes --dest "$dir" -r "$dir/requirements.txt" >&2 \
      || die "pip could not fetch gunicorn $GUNICORN_VERSION" "is PyPI reachable?"
    tar -xzf "$dir/gunicorn-$GUNICORN_VERSION.tar.gz" -C "$dir" --strip-components=1 \
      "gunicorn-$GUNICORN_VERSION/tests/requests" "gunicorn-$GUNICORN_VERSION/LICENSE"
  fi
  export REPOD_HTTP_CASES="$dir/tests/requests"
}

# An opencode that a user has is the user's choice: REPOD_OPENCODE, then PATH; else the pinned one.
use_opencode() {
  if [ -n "${REPOD_OPENCODE:-}" ]; then
    [ -x "$REPOD_OPENCODE" ] || die "REPOD_OPENCODE names \`$REPOD_OPENCODE\`, which can't be executed"
  elif ! path_opencode_fits; then
    fetch_opencode
  fi
  local rg
  if ! command -v rg >/dev/null 2>&1; then
    for rg in "$TOOLS"/opencode-*/node_modules/@vscode/ripgrep-linux-*/bin/rg; do
      [ -x "$rg" ] && export REPOD_RG="$rg"
    done
  fi
}

# Asking a version takes OpenCode half a second, so the answer is kept for this very file.
path_opencode_fits() {
  local found stamp kept
  found=$(command -v opencode) || return 1
  stamp=$(stat -L -c '%n %s %Y' "$found") || return 1
  kept="$TOOLS/opencode-on-path"
  [ "$(cat "$kept" 2>/dev/null)" = "$stamp" ] && return 0
  supported "$("$found" --version 2>/dev/null | tail -n 1)" || return 1
  mkdir -p "$TOOLS" && printf '%s\n' "$stamp" >"$kept"
}

# Builds the release binary if any source is newer than it, and prints its path.
build_release() {
  need_rust
  local target="${CARGO_TARGET_DIR:-$PROJECT/target}" newer
  local binary="$target/release/repod"
  newer=$(cd "$PROJECT" && find Cargo.toml Cargo.lock rust-toolchain.toml crates plugin web/dist \
    -type f -newer "$binary" -print -quit 2>/dev/null || echo yes)
  if [ ! -x "$binary" ] || [ -n "$newer" ]; then
    say "building repod (release) ..."
    (cd "$PROJECT" && cargo build --release --locked --quiet -p repod >&2) \
      || die "repod did not build" "the compiler's message is above"
    touch "$binary"
  fi
  printf '%s\n' "$binary"
}

# The programs that benchmarks and the tour need beside repod. By themselves: built together with it, they
# would have its libraries built anew, with more features than repod asks for.
build_testkit() {
  [ -x "${CARGO_TARGET_DIR:-$PROJECT/target}/release/repod-bench" ] \
    || say "building the model server and the benchmarks ..."
  (cd "$PROJECT" && cargo build --release --locked --quiet -p repod-testkit --bins >&2) \
    || die "they did not build" "the compiler's message is above"
}
