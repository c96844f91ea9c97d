# The check of the kinds of interfaces. Sourced by init; see checks.sh.

# The kinds, in the order of their numbers: the device of a kind is kind-NAME, here with the address 10.4.NUMBER.1, and in
# the namespace `peer` with 10.4.NUMBER.2; of `sit` and `vti6` they are fd04:NUMBER::1 and fd04:NUMBER::2.
KINDS="vlan bond team bridge dummy macvlan macvtap ipvlan ipvlan-l3 macsec vrf ifb netkit
vxlan geneve gretap l2tp tun ipip sit ip6tnl gre ip6gre vti vti6 xfrm wireguard"

# Those of which capture says that it does not know their frames.
REFUSED=ip6gre

# Those whose incoming packets capture does not see: in front of what it has decrypted, the kernel leaves the link header
# of the device below.
DECRYPTED="vti vti6 xfrm"

# Those where capture prints nothing: the kernel shows their packets to tcpdump, but has no place for programs there.
UNSEEN=vrf

# IP tunnels, whose incoming packets have the outer header in front of them below Linux 5.14.
IP_TUNNELS="ipip sit ip6tnl gre"

# Loads the kernel's modules for the kinds.
load_kinds() {
    local module
    for module in /kinds/*; do
        insmod "$module" 2>/dev/null || echo "$module cannot be loaded"
    done
}

# Takes the second CPU offline, or back. New modules and devices make the kernel replace instructions of its own, and
# QEMU's emulation now and then runs one that is being replaced: not where no other CPU replaces it.  cpu_1 0
cpu_1() {
    echo $1 >/sys/devices/system/cpu/cpu1/online
}

# The number of a kind.
number_of() {
    local number=0 name
    for name in $KINDS; do
        number=$((number + 1))
        [ $name != $1 ] || break
    done
    echo $number
}

# Whether a word is in a list.  among WORD LIST
among() {
    case " $2 " in
    *" $1 "*) ;;
    *) return 1 ;;
    esac
}

# Commands for ip(8) that make the devices at one end, which is 1 here and 2 in `peer`. Where only this end has a device of
# the kind, the other has the address on what is below it.  devices END
devices() {
    local end=$1 other=$((3 - $1)) number name device
    local below=veth$((end - 1)) v4="local 10.0.0.$end remote 10.0.0.$other" v6="local fd00::$end remote fd00::$other"
    local key=000102030405060708090a0b0c0d0e0f
    cat <<END
link add link $below name kind-vlan type vlan id 7
link add link $below name kind-macvlan type macvlan mode bridge
link add link $below name kind-macvtap type macvtap mode bridge
link add link pair4 name kind-ipvlan type ipvlan mode l2
link set pair5 address 02:00:00:00:05:0$end
neigh add 10.4.$(number_of ipvlan-l3).$other lladdr 02:00:00:00:05:0$other dev pair5 nud permanent
link set pair6 address 02:00:00:00:06:0$end
link add link pair6 name kind-macsec type macsec port 1
macsec add kind-macsec tx sa 0 pn 1 on key 01 $key
macsec add kind-macsec rx port 1 address 02:00:00:00:06:0$other
macsec add kind-macsec rx port 1 address 02:00:00:00:06:0$other sa 0 pn 1 on key 01 $key
link add kind-vxlan type vxlan id 7 dstport 4789 $v4
link add kind-geneve type geneve id 7 remote 10.0.0.$other
link add kind-gretap type gretap $v4 key 7
l2tp add tunnel tunnel_id 7 peer_tunnel_id 7 encap udp $v4 udp_sport 1701 udp_dport 1701
l2tp add session name kind-l2tp tunnel_id 7 session_id 7 peer_session_id 7
link add kind-ipip type ipip $v4
link add kind-sit type sit $v4
link add kind-ip6tnl type ip6tnl mode any $v6
link add kind-gre type gre $v4 key 8
link add kind-ip6gre type ip6gre $v6 key 8
addr add 10.0.1.$end/24 dev $below
addr add fd00:1::$end/64 dev $below nodad
link add kind-vti type vti local 10.0.1.$end remote 10.0.1.$other key 7
link add kind-vti6 type vti6 local fd00:1::$end remote fd00:1::$other key 8
link add kind-xfrm type xfrm dev $below if_id 9
link add kind-wireguard type wireguard
$(ipsec 7 10.0.1. $end 0.0.0.0/0 'mark 7')
$(ipsec 8 fd00:1:: $end ::/0 'mark 8')
$(ipsec 9 10.0.0. $end 0.0.0.0/0 'if_id 9' 'if_id 9')
END
    [ $end = 2 ] || cat <<END
link add kind-bond type bond mode active-backup miimon 100
link set pair1 down
link set pair1 master kind-bond
link add kind-team type team
link add link pair5 name kind-ipvlan-l3 type ipvlan mode l3
link add kind-bridge type bridge
link set pair3 master kind-bridge
link add kind-dummy type dummy
link add kind-vrf type vrf table 100
link set pair7 master kind-vrf
link add kind-ifb type ifb
link add kind-netkit type netkit
link set nk0 netns peer name kind-netkit
END
    number=0
    for name in $KINDS; do
        number=$((number + 1))
        address_at $end $name
        case $end,$name in
        ?,tun | 2,dummy) continue ;;
        ?,sit | ?,vti6) echo "addr add fd04:$number::$end/64 dev $device nodad" ;;
        *) echo "addr add 10.4.$number.$end/24 dev $device" ;;
        esac
        echo "link set $device up"
        # What is below such a device finds the way, and asks for no link address.
        [ $end,$name != 1,ipvlan-l3 ] || echo "route add 10.4.$number.0/24 dev pair5 metric 5000"
        # What is on top of it.
        [ $end = 2 ] || [ $device = kind-$name ] || echo "link set kind-$name up"
    done
}

# The device that has a kind's address, in `device`.  address_at END KIND
address_at() {
    case $1,$2 in
    2,bond) device=pair1 ;;
    2,team) device=pair2 ;;
    2,bridge) device=pair3 ;;
    2,ipvlan-l3) device=pair5 ;;
    ?,vrf) device=pair7 ;;
    ?,ifb) device=pair8 ;;
    *) device=kind-$2 ;;
    esac
}

# Commands for ip(8) that encrypt what goes through a device.  ipsec NUMBER PREFIX END ALL POLICY STATE
ipsec() {
    local other=$((3 - $3)) cipher='aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128'
    echo "xfrm state add src $2$3 dst $2$other proto esp spi 0x10$1$3 reqid $1 mode tunnel $6 $cipher"
    echo "xfrm state add src $2$other dst $2$3 proto esp spi 0x10$1$other reqid $1 mode tunnel $6 $cipher"
    echo "xfrm policy add src $4 dst $4 dir out $5 tmpl src $2$3 dst $2$other proto esp reqid $1 mode tunnel"
    echo "xfrm policy add src $4 dst $4 dir in $5 tmpl src $2$other dst $2$3 proto esp reqid $1 mode tunnel"
}

# What other programs than ip(8) do for the devices; nothing where the machine does not have the program.
other_devices() {
    tc qdisc add dev pair8 clsact
    tc filter add dev pair8 ingress matchall action mirred egress redirect dev kind-ifb ||
        ip link del kind-ifb 2>/dev/null || true
    umask 077
    if exists wg && [ -e /sys/class/net/kind-wireguard ]; then
        wg genkey >"$W/key.1"
        wg genkey >"$W/key.2"
        wireguard 1 ''
        wireguard 2 'ip netns exec peer'
    else
        ip link del kind-wireguard 2>/dev/null || true
    fi
    if exists teamnl; then
        teamnl kind-team setoption mode roundrobin
        ip link set pair2 down
        ip link set pair2 master kind-team
    else
        ip link del kind-team
    fi
    if exists socat; then
        relay 1 ''
        relay 2 'ip netns exec peer'
        await 'the relay has made its device' [ -e /sys/class/net/kind-tun ]
    fi
}

exists() {
    [ -e /usr/bin/$1 ]
}

# One end of a wireguard tunnel.  wireguard END PREFIX
wireguard() {
    local other=$((3 - $1)) number
    number=$(number_of wireguard)
    $2 wg set kind-wireguard listen-port 51820 private-key "$W/key.$1" peer "$(wg pubkey <"$W/key.$other")" \
        allowed-ips 10.4.$number.$other/32 endpoint 10.0.0.$other:51820
}

# One end of a program that passes on what it reads from a tun device.  relay END PREFIX
relay() {
    local number
    number=$(number_of tun)
    $2 socat TUN:10.4.$number.$1/24,tun-name=kind-tun,iff-no-pi,iff-up \
        UDP4-DATAGRAM:10.0.0.$((3 - $1)):4800,bind=10.0.0.$1:4800 &
}

# Sends a connection through a kind's device, and a packet that is the last.  through KIND NUMBER
through() {
    local address=10.4.$2.2 back
    case $1 in
    # Nothing answers.
    dummy)
        nc -w 20 $address 9 </dev/null 2>/dev/null &
        back=$!
        sleep 0.3
        kill $back
        return
        ;;
    # A server answers through the device that the question came from.
    vrf)
        back=$(head -c 3000 /dev/zero | ip netns exec peer taskset 2 nc -w 20 10.4.$2.1 8888 | wc -c)
        [ "$back" -eq 3000 ] || die "$back of 3000 bytes came back through $1"
        ip netns exec peer taskset 2 nc -w 20 10.4.$2.1 9 </dev/null 2>/dev/null || true
        return
        ;;
    sit | vti6) address=fd04:$2::2 ;;
    esac
    # Writes that are joined to more than a segment are cut where they are encrypted: tc sees them before, tcpdump after it.
    if among $1 "$DECRYPTED"; then bulk $address 1000; else bulk $address 3000; fi
    marker $address
}

# Starts capture and tcpdump on a device, without waiting.  both_on NAME ARGUMENTS..
both_on() {
    local name=$1
    shift
    start_capture $name.capture -t "$@" --port 8888,9
    tcpdump -n -l -Z root -B 2048 -t "$@" $BOTH_PORTS >"$W/$name.tcpdump.out" 2>"$W/$name.tcpdump.err" &
    echo $! >"$W/$name.tcpdump.pid"
}

# Whether all listen, or have said that they do not know the frames of the device.
all_settled() {
    local name
    [ "$(cd "$W" && grep -ls 'listening on\|hardware type' *.err | wc -l)" -eq "$(ls "$W"/*.pid | wc -l)" ] && return 0
    for name in $(captures) $(oracles); do
        grep -qs 'hardware type' "$W/$name.err" || is_running $name ||
            die "$name ended: $(tail -n 3 "$W/$name.err" | tr '\n' ' ')"
    done
    return 1
}

# Whether capture and tcpdump have printed the last packet of each device: its line, and that of the answer. Of all
# devices together the last is that of the last device.  all_marked NUMBER
all_marked() {
    [ -z "$(without_marker "$1")" ]
}

# Those that have not.
without_marker() {
    (cd "$W" && awk -v last="[.:]$1[.:]+[12][.]" -v outgoing="$OUTGOING" '
        BEGIN {
            for (i = 1; i < ARGC; i++) {
                split(ARGV[i], name, ".")
                wanted[ARGV[i]] = index(outgoing, " " name[1] " ") ? 1 : 2
            }
        }
        /[.]9[: ]/ && (FILENAME !~ /^any[.]/ || $0 ~ last) { wanted[FILENAME]-- }
        END { for (file in wanted) if (wanted[file] > 0) print file }' $(cat list))
}

# Compares the lines of capture and tcpdump on each device and on all together, each sender's by themselves: encrypted
# packets, and those that pass through another program, are worked on by several CPUs. Prints what differs.
compare_kinds() {
    (cd "$W" && awk -v refused=" $REFUSED $UNSEEN " -v outgoing="$OUTGOING" '
        NF == 0 { next }
        {
            split(FILENAME, file, ".")
            sender = $2
            if (file[1] == "any") {
                kind = substr($1, 6)
                if ($1 ~ /^kind-/ && (index(refused, " " kind " ") || $2 != "Out" && index(outgoing, " " kind " "))) {
                    if (file[2] == "capture") differ["what is not seen of " kind] = 1
                    next
                }
                sender = $1 " " $2 " " $4
            }
            at = file[1] " " sender
            text[file[2], at] = text[file[2], at] "\n" $0
            lines[FILENAME]++
            places[at] = file[1]
        }
        END {
            for (at in places) if (text["capture", at] != text["tcpdump", at]) differ[places[at]] = at
            for (name in differ) print name ","
            for (i = 1; i < ARGC; i++) {
                split(ARGV[i], file, ".")
                if (lines[ARGV[i]] < (index(outgoing, " " file[1] " ") ? 1 : 6)) print file[1] ","
            }
        }' $(cat list) | sort -u)
}

# The link types that capture and tcpdump say, for the table in docs/interfaces.md.
link_types() {
    (cd "$W" && awk '
        {
            split(FILENAME, file, ".")
            if (sub(/.*link-type /, "")) type[file[1], file[2]] = $1
            else if (sub(/.*its hardware type/, "hardware type")) type[file[1], file[2]] = "(" $1 " " $2 " " $3 ")"
            names[file[1]]
        }
        END { for (name in names) print name, type[name, "capture"], type[name, "tcpdump"] }' *.capture.err *.tcpdump.err)
}

# Where the packets of each kind were seen, for the table in docs/interfaces.md: the devices, and how many lines each has.
places() {
    awk -v kinds="$KINDS" '
        BEGIN { split(kinds, name, " ") }
        NF {
            split($4, part, /[.:]/)
            if (part[1] == "10" && part[2] == "4" || part[1] == "fd04") {
                number = part[1] == "10" ? part[3] : part[2]
                seen[number, $1]++
                if (seen[number, $1] == 1) at[number] = at[number] " " $1
            }
        }
        END {
            for (number = 1; number in name; number++) if (number in at) {
                printf "%s:", name[number]
                count = split(at[number], device, " ")
                for (i = 1; i <= count; i++) printf " %s (%d)", device[i], seen[number, device[i]]
                print ""
            }
        }' "$W/any.tcpdump.out"
}

# A device of each kind that the kernel has: by itself, and all of them together with what is below them. That capture
# sees what the lists above say that it does not see is a difference, too.
kinds() {
    cpu_1 0
    load_kinds
    links
    pairs 8
    echo 1 >/proc/sys/net/ipv4/tcp_l3mdev_accept
    devices 1 | ip -force -batch - || true
    devices 2 | ip -netns peer -force -batch - || true
    other_devices
    cpu_1 1
    servers_at_both
    # Of these only what goes out is seen; nothing comes in at the first two.
    OUTGOING=" dummy ifb $DECRYPTED "
    has_tunnels || OUTGOING="$OUTGOING$IP_TUNNELS "
    local name kind last number=0 lacks= equal=0 all= differ
    for kind in $KINDS; do
        number=$((number + 1))
        if [ ! -e /sys/class/net/kind-$kind ]; then
            lacks="$lacks, $kind"
            continue
        fi
        echo $kind $number >>"$W/have"
        last=$number
        case "$OUTGOING" in
        *" $kind "*) both_on $kind -Q out -i kind-$kind ;;
        *) both_on $kind -i kind-$kind ;;
        esac
        [ $kind = $REFUSED ] || all="$all -i kind-$kind"
        among $kind "$REFUSED $UNSEEN" && continue
        echo $kind.capture.out $kind.tcpdump.out >>"$W/list"
        equal=$((equal + 1))
    done
    # All are attached to before it says that it listens, other than with `-i any`.
    start_capture any.capture -t -S --port 8888,9 -i veth0 $(seq 8 | sed 's/^/-i pair/') $all
    tcpdump_as any.tcpdump -t -S -i any $BOTH_PORTS
    echo any.capture.out any.tcpdump.out >>"$W/list"
    await 'capture and tcpdump listen on all' all_settled
    while read -r kind number; do
        through $kind $number
    done <"$W/have"
    await 'all print the last packet' all_marked $last
    for kind in $UNSEEN $DECRYPTED; do
        [ ! -e /sys/class/net/kind-$kind ] || grep -q "note: .* of kind-$kind$" "$W/any.capture.err" ||
            die "it is not said what is not seen of $kind: $(grep note "$W/any.capture.err" | tr '\n' ' ')"
    done
    finish $(captures | grep -v "^$REFUSED[.]") $(oracles)
    accounts $(captures | grep -v "^$REFUSED[.]")
    link_types
    places
    differ=$(compare_kinds)
    [ -z "$differ" ] || die "the lines differ of" $differ
    await 'the programs leave the kernel' no_programs
    has_tunnels || lacks="$lacks, incoming packets of IP tunnels"
    note "equal lines of $equal kinds${lacks:+; lacks${lacks#,}}"
}
