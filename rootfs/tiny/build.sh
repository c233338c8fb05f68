#!/bin/sh
# tiny: an image that needs no registry, made of what this machine has.
#
#     build.sh DIRECTORY      fill the empty DIRECTORY; it is the root of the image then
#
# Busybox is one program with the names of many: cat, ls, ps, sh ... Where it is missing, the
# machine's own shell and a few tools are copied, with the libraries that they ask for.
set -eu
cd "$1"

# copy PROGRAM: to the same path in the image, and each shared library that it needs
copy() {
    # shellcheck disable=SC2046  # the lines of ldd(1) are words: "libc.so.6 => /lib/libc.so.6 (0x7f..)"
    cp --dereference --parents "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*') .
}

mkdir -p usr/bin usr/sbin usr/lib usr/lib64 dev etc home/student proc root sys tmp var
ln -s usr/bin usr/sbin usr/lib usr/lib64 .      # /bin is /usr/bin, as on today's distributions
chmod 700 root
chmod 1777 tmp
chown 1000:1000 home/student || :  # in a user namespace with one user, it stays root's

if busybox=$(command -v busybox); then
    copy "$busybox"
    "$busybox" --install -s usr/bin     # a link for each of its names
else
    for tool in sh cat ls ps id env hostname mount sleep head grep uname stat true false; do
        if [ -x "/usr/bin/$tool" ]; then copy "/usr/bin/$tool"; fi
    done
fi

cat > etc/passwd <<'END'
root:x:0:0:root:/root:/bin/sh
student:x:1000:1000:student:/home/student:/bin/sh
END
cat > etc/group <<'END'
root:x:0:
student:x:1000:
END
cat > etc/os-release <<'END'
ID=tiny
NAME=tiny
PRETTY_NAME="tiny (embedded in minirun)"
END
