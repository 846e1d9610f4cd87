#!/bin/sh
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes what the cases work on: the same on each host.

set -eu
umask 022
# who comes first would be warned that it is made
install --directory --mode=0700 /root/.ansible /root/.ansible/tmp
useradd --create-home --uid 2001 --shell /bin/bash worker
mkdir -p /srv/b/made /srv/b/tree/sub /srv/b/odd /srv/b/etc /srv/b/facts.d /srv/site
cd /srv/b
printf 'alpha\nbeta\ngamma\n' >words
printf 'sample\n' >name
printf '1.10.0\n' >version
printf '%s\n' '{{ lookup("pipe", "touch /srv/b/made/hacked") }} {% raw %} {# no #}' "it's {{ 1 + 1 }}" >braces
printf '%s' '{"list": [{"name": "one", "size": 1, "tags": ["a", "b"]}, {"name": "two", "size": 2, "tags": []}, {"name": "three", "size": 3, "tags": ["c"]}], "map": {"a": 1, "b": {"c": [1, 2]}}, "flat": {"x": 1, "y": 2}, "mixed": [1, 1.5, true, null, "007", "ø"]}' >data.json
printf 'level=low\n' >tree/a.conf
printf 'level=none\nother\n' >tree/sub/b.conf
printf x >tree/c.bak
printf x >tree/sub/d.bak
printf 'first\n' >to-back-up
printf 'version=0\nold=old\n' >settings
: >'odd/{{ 1 + 1 }}'
: >'odd/{% if %}'
: >'odd/with space'
printf '[general]\nlevel=3\n' >facts.d/sample.fact
tar --create --gzip --file=tree.tar.gz --sort=name --mtime=@1700000000 tree
printf '#PASS_MAX_DAYS 99999\nPASS_MIN_DAYS 0\nUMASK 022\n' >etc/login.defs
printf 'Port 22\n#PermitRootLogin yes\nX11Forwarding yes\n' >etc/sshd_config
printf 'root:*:1::\nguest::1::\nother:!:1::\n' >etc/shadow
printf x >etc/wide && chmod 0666 etc/wide
printf x >etc/wider && chmod 0777 etc/wider
for version in 1.0.0 1.2.0; do
  mkdir -p /tmp/tool/bin
  printf '%s\n' "$version" >/tmp/tool/VERSION
  printf '#!/bin/sh\necho %s\n' "$version" >/tmp/tool/bin/tool
  chmod 0755 /tmp/tool/bin/tool
  tar --create --gzip --file="/srv/site/tool-$version.tar.gz" --directory=/tmp/tool --sort=name --mtime=@1700000000 VERSION bin
  (cd /srv/site && sha256sum "tool-$version.tar.gz" >"tool-$version.tar.gz.sha256")
done
rm -r /tmp/tool
find /srv -newermt 2024-06-01 -exec touch --no-dereference --date=@1700000000 {} +
python3 /usr/local/sbin/server.py /srv/site 8080
