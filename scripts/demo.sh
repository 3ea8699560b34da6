#!/usr/bin/env bash
# ./run demo: builds what the tour needs and takes it. See crates/repod-testkit/src/bin/repod-demo.rs.
set -euo pipefail
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$PROJECT/scripts/lib.sh"
use_opencode
binary=$(build_release)
build_testkit
exec "$(dirname "$binary")/repod-demo" "$binary"
