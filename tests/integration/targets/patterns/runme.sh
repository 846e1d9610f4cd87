#!/usr/bin/env bash
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Runs each of playbooks/patterns, or those that are named, as a user would, in folders of its own, and sees that it leaves
# nothing behind.

set -eu -o pipefail

here=$(cd "$(dirname "$0")" && pwd)

left_running() {
  grep -lsz "^BGJ_SANDBOX=$1\$" /proc/[0-9]*/environ | sed 's|/environ|/cmdline|' | xargs -r -n 1 tr '\0' ' ' || true
}

run() {
  local name=$1 own="$work/$1" begun=$SECONDS left
  mkdir -p "$own/tmp" "$own/async"
  env BGJ_SANDBOX="$own" TMPDIR="$own/tmp" ANSIBLE_ASYNC_DIR="$own/async" ansible-playbook \
    "background.jobs.patterns.$name" >"$own/log" 2>&1 || { cat "$own/log"; echo "FAILED: $name"; return 1; }
  grep -q -e 'old way [0-9.]* s, new way [0-9.]* s' -e 'This is the machine that Ansible runs on' "$own/log" ||
    { cat "$own/log"; echo "FAILED: $name does not say how long it took"; return 1; }
  # A supervisor ends a moment after its last job.
  for _ in $(seq 100); do
    left=$(left_running "$own")
    [ -n "$left" ] || break
    sleep 0.1
  done
  left+=$(cd "$own" && find async tmp -mindepth 1 ! -path 'async/.background_jobs*' ! -path 'tmp/ansible*')
  [ -z "$left" ] || { cat "$own/log"; echo "FAILED: $name left behind: $left"; return 1; }
  echo "$name: passed in $((SECONDS - begun)) s"
}

if [ $# -gt 1 ] && [ "$1" = --one ]; then
  work=$2
  run "$3"
  exit
fi

# not in OUTPUT_DIR: the path of a socket is limited to about 100 bytes
work=$(mktemp -d "${TMPDIR:-/tmp}/bgj.XXXXXX")
trap 'rm -rf "$work"' EXIT

# ansible-test runs a copy of the target, in a folder of its own below the collection.
root=$here
until [ -d "$root/playbooks/patterns" ]; do
  [ "$root" != / ] || { echo "playbooks/patterns was not found above $here" >&2; exit 1; }
  root=$(dirname "$root")
done

# They mostly wait.
[ $# -gt 0 ] || mapfile -t names < <(find "$root/playbooks/patterns" -maxdepth 1 -name '*.yml' -exec basename {} .yml \; | sort)
printf '%s\n' "${@:-${names[@]}}" |
  xargs -P 3 -I NAME "$here/runme.sh" --one "$work" NAME
