#!/bin/sh
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes what the cases work on. All of it is the same on each host, times of files included.

set -eu
umask 022

# ---- files
mkdir -p /srv/d/tree/deep/deeper /srv/d/made /srv/d/temporary
cd /srv/d
printf 'one\ntwo\nthree\n' >text
printf 'alpha=1\nbeta=2\n# gamma\n' >settings
printf 'foo\nbar\nfoo bar\n' >words
printf 'from the defaults of the play' >default
printf 'bytes: \351\377\000end' >bytes
printf 'leaf' >tree/deep/leaf
printf 'hidden' >tree/.hidden
printf 'needle in it\n' >tree/deep/deeper/hay
ln -s leaf tree/deep/link
printf 'gone' >gone
mkdir gone.d && printf 'x' >gone.d/file
printf '[one]\nkey = value\n[two]\nother = 1\n' >ini
printf 'name,size\nø,1\nb,2\n' >csv
printf '<a><b n="1">text</b><b n="2"/></a>\n' >xml
# shellcheck disable=SC2016  # for make to expand
printf 'all:\n\t@echo made $(WHAT)\nfail:\n\t@false\n' >Makefile
printf 'some text to pack\n' >packed && gzip --no-name --keep packed
printf 'auth required pam_unix.so\naccount required pam_unix.so\n' >pam
printf 'auto lo\niface lo inet loopback\niface eth7 inet static\n    address 192.0.2.7\n' >interfaces
mkdir fragments && printf 'first\n' >fragments/1 && printf 'second\n' >fragments/2 && printf 'no\n' >fragments/3.bak
printf 'tmpfs /srv/d/mounted tmpfs rw 0 0\n' >fstab

# ---- a repository, whose commits have the same names everywhere
export GIT_AUTHOR_DATE='2024-01-02T03:04:05Z' GIT_COMMITTER_DATE='2024-01-02T03:04:05Z'
git init --quiet --initial-branch=main /srv/repo
cd /srv/repo
git config user.name nobody
git config user.email nobody@example.org
echo one >file && git add file && git commit --quiet --message=one && git tag v1
echo two >file && git commit --quiet --all --message=two
git config --system --add safe.directory '*'

# ---- a wheel
mkdir -p /srv/wheels
cd /srv/wheels
python3 - <<'PYTHON'
import zipfile

with zipfile.ZipFile("sample-1.0-py3-none-any.whl", "w") as wheel:
    about = "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n"
    wheel.writestr("sample.py", "")
    wheel.writestr("sample-1.0.dist-info/METADATA", about)
    wheel.writestr("sample-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: none\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("sample-1.0.dist-info/RECORD", "sample.py,,\nsample-1.0.dist-info/METADATA,,\nsample-1.0.dist-info/WHEEL,,\nsample-1.0.dist-info/RECORD,,\n")
PYTHON

# ---- archives
cd /srv/d
tar --create --gzip --file=/srv/d/tree.tar.gz --sort=name --mtime=@1700000000 tree
zip --quiet --recurse-paths /srv/d/tree.zip tree

# ---- a web site
mkdir -p /srv/site
printf 'a page: ø\n' >/srv/site/page
printf '{"a": [1, 2]}' >/srv/site/data.json
printf "a secret" >/srv/site/secret
cp /srv/d/tree.tar.gz /srv/site/

# ---- units
cat >/etc/systemd/system/sample.service <<'UNIT'
[Unit]
Description=A sample
[Service]
# What systemd tells of a unit must not depend on whether its program was executed yet.
Type=exec
ExecStart=/bin/sleep 100000
[Install]
WantedBy=multi-user.target
UNIT
cat >/etc/systemd/system/broken.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/false
UNIT
systemctl daemon-reload

# ---- users, and an odd shell
useradd --create-home --uid 2001 --shell /bin/bash worker
useradd --create-home --uid 2002 --shell /bin/bash other
install -d -o worker -g worker /srv/d/worker
# else the first module that makes it says so
install -d -m 0700 -o worker -g worker /home/worker/.ansible /home/worker/.ansible/tmp
cat >/usr/local/bin/odd-shell <<'SHELL'
#!/bin/sh
umask 0027
cd /var/tmp
exec /bin/sh "$@"
SHELL
chmod 0755 /usr/local/bin/odd-shell
ln -s /usr/bin/python3 /usr/local/bin/other-python

# What was made now has one time, and is not written again.
find /srv /usr/local/bin -newermt 2024-06-01 -exec touch --no-dereference --date=@1700000000 {} +

python3 /usr/local/sbin/server.py /srv/site 8080
