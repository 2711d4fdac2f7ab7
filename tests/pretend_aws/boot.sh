#!/bin/bash
# The boot of a pretended machine, as the first process of its namespaces: files, network, UserData, then sshd.
# Started by machine.py with the machine's folder as argument and the facts in the environment.
set -eu
machine=$1
root=$machine/root
mount --make-rprivate /

# Files: the host's, with a layer for this machine alone; nothing of the person's home or checkout.
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$machine/upper,workdir=$machine/work" "$root"
for name in dev sys; do mount --rbind "/$name" "$root/$name"; done
mount -t proc proc "$root/proc"
for name in dev/shm tmp run; do mount -t tmpfs -o mode=1777 tmpfs "$root/$name"; done
IFS=: read -ra hidden <<<"/root:/home:$HIDDEN"
for name in "${hidden[@]}"; do
    case $name/ in /tmp/*) mkdir -p "$root$name"; continue ;; esac
    mkdir -p "$machine/disk$name" "$root$name"
    mount --bind "$machine/disk$name" "$root$name"
done
IFS=: read -ra folders <<<"$PYTHON_FOLDERS"
for name in "${folders[@]}"; do
    mkdir -p "$root$name"
    mount --bind -o ro "$name" "$root$name"
done
if [ -n "$CACHE" ]; then
    mkdir -p "$machine/cache/upper" "$machine/cache/work" "$root/var/cache/uv"
    mount -t overlay overlay "$root/var/cache/uv" \
        -o "lowerdir=$LOWER$CACHE,upperdir=$machine/cache/upper,workdir=$machine/cache/work"
    cp "$UV" "$root/usr/local/bin/uv"
fi
# The environment knows the project as a checkout; here it is what the launcher sends.
for name in infra pipelines lit_models; do ln -sfn "/home/ubuntu/fifty/$name" "$root$CHECKOUT/$name"; done
cp -r "$machine/files/." "$root/"
install -m 755 "$STANDINS"/* "$root/usr/local/bin/"
for name in shutdown poweroff reboot systemctl sudo; do
    ln -sf /usr/local/bin/"$name" "$root/usr/bin/$name"
    ln -sf /usr/local/bin/"$name" "$root/usr/sbin/$name"
done

# Who: the image's user, with root's rights, and the key that the cloud was given.
sed -i '/^ubuntu:/d' "$root/etc/passwd" "$root/etc/shadow"
# First, so that number 0 has this home: that is where ssh looks for `~`.
sed -i '1i ubuntu:x:0:0:Ubuntu:/home/ubuntu:/bin/bash' "$root/etc/passwd"
echo 'ubuntu:*:19000:0:99999:7:::' >>"$root/etc/shadow"
for home in root home/ubuntu; do
    mkdir -p "$root/$home/.ssh"
    cp -n /etc/skel/.bashrc /etc/skel/.profile "$root/$home/" || true
    cp "$machine/key" "$root/$home/.ssh/authorized_keys"
    chmod -R go= "$root/$home/.ssh"
done

# Network: the wire that machine.py lays; no resolver.
hostname "ip-${ADDRESS//./-}"
printf '127.0.0.1 localhost\n%s %s\n' "$ADDRESS" "$(hostname)" >"$root/etc/hosts"
rm -f "$root/etc/resolv.conf"
echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip address add "$ADDRESS/16" dev eth0
[ -z "$PUBLIC" ] || ip address add "$PUBLIC/32" dev eth0
ip link set eth0 up
ip route add default via "$GATEWAY"
ip route add unreachable 169.254.0.0/16
ip address add 169.254.169.254/32 dev lo

mkdir -p "$root/run/sshd" "$root/etc/ssh"
[ -e "$root/etc/ssh/pretend_key" ] || ssh-keygen -q -t ed25519 -N '' -f "$root/etc/ssh/pretend_key"
mkdir -p "$root/etc/ssh/sshd_config.d"
cat >"$root/etc/ssh/pretend_config" <<END
Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/pretend_key
PidFile none
UsePAM no
UseDNS no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
SetEnv $CLOUD
Subsystem sftp internal-sftp
END
cp "$machine/user-data" "$root/run/user-data"
first=
[ -e "$machine/booted" ] || first=yes
touch "$machine/booted"

mkdir -p "$root/run/old"
cd "$root"
pivot_root . run/old
umount --lazy /run/old
for pair in $CLOUD; do export "${pair?}"; done
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
setsid metadata >/var/log/metadata.log 2>&1 </dev/null &
systemctl boot &
if [ -n "$first$EVERY_BOOT" ] && head -c 2 /run/user-data | grep -q '#!'; then
    chmod 700 /run/user-data
    setsid /run/user-data >/var/log/cloud-init-output.log 2>&1 </dev/null &
fi
exec /usr/sbin/sshd -D -E /var/log/sshd.log -f /etc/ssh/pretend_config
