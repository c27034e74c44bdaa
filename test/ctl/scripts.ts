/** Command lines for lockstep.ts; each line runs on the state that the previous lines left. */

export const KEYS = `
set /a 1
get /a
get a
get //a/
get /x/../a
get --sort /a
get --quorum /a
get -q /a
get /a --quorum
-o extended get /a
-o json get /a
-o simple get /a
-o yaml get /a
--output json get /a
--output=extended get /a
get /none
-o json get /none
-o extended get /none
get /none/below
get
get /
get ..
get ''
set
set /s
set /s << from\\nstandard input\\n
get /s
set /s -
set /s - << not read
set -- /s -5
get /s
set /s -- -x
set /s -7
set /s v --unknown
set /s v w
set /s ''
get /s
-o json get /s
set /s 'blank and "quotes" \\ <&>'
get /s
-o json get /s
set /ключ значение
get /ключ
-o json get /ключ
set '/sp ace/%41?x#y' 'a+b=c&d'
get '/sp ace/%41?x#y'
set '/odd/!*()' v
get '/odd/!*()'
set /t short --ttl 1000
set --ttl 1000 /t short
set -ttl=1000 /t short
set --ttl=0x640 /t hex
set --ttl 0 /t forever
set --ttl -5 /t forever
set --ttl 9223372036854775807 /t overflow
-o extended set --ttl 1000 /t short
-o json set --ttl 1000 /t short
set /c 1
set --swap-with-value 1 /c 2
set --swap-with-value 1 /c 3
set /c 3 --swap-with-value 2
set --swap-with-index 1 /c 4
set --swap-with-index 0 /c 4
set --swap-with-index -1 /c 4
set --swap-with-value '' /c 5
set --swap-with-value x /none 5
-o extended set --swap-with-value 5 /c 6
-o json set --swap-with-value 6 /c 7
-o extended set /c 8
-o json set /c 9
mk /a 2
mk /b 2
mk /b/below 2
mk
mk /m
mk /m << given
mk --ttl 1000 /mt x
-o extended mk /me x
-o json mk /mj x
mk --in-order /q job
mk --in-order /q job2
mk --in-order --ttl 500 /q job3
mk /q job4 --in-order
-o json mk --in-order /q job5
mk --in-order /a job
mk --in-order /b
update /a 5
update /none 5
update --ttl 1000 /a 6
update /a 7
update
update /a
update /a << piped
-o extended update /a 8
-o json update /a 9
mkdir /d
mkdir /d
mkdir /a
mkdir
mkdir /p/q/r
mkdir --ttl 1000 /dt
-o extended mkdir /de
-o json mkdir /dj
mkdir /a/b
mkdir /
setdir /sd
setdir /sd
setdir --ttl 1000 /sd2
setdir /b
setdir
-o json setdir /sdj
setdir /
updatedir /dt --ttl 500
updatedir /dt
updatedir /none --ttl 5
updatedir /d
updatedir /a
updatedir
-o extended updatedir /dt
update /d 5
set /d 5
get /d
-o json get /d
set /d/k 1
set /d/e/f 1
set /d/_hidden/k 1
ls --sort
ls --sort /
ls --sort -p
ls -p --sort --recursive
ls / --sort --recursive
ls -r --sort /d
ls /d --recursive --sort -p
ls --sort --quorum /d
ls -q --sort /d
ls /d/k
ls -p /d/k
ls /p/q/r
ls /none
ls d --sort
ls /d/_hidden
-o json ls --sort /d
-o extended ls --sort /d
-o json ls --sort --recursive /d
-o yaml ls
rm
rm /none
rm /d
rm --dir /d
rmdir /d
rmdir
rmdir /none
rmdir /sd
rmdir /c
rm --dir /b
-o json rm --dir /sdj
-o extended rmdir /de
rm /d/k
-o extended rm /s
-o json rm /ключ
rm --recursive /d
-o json rm -r /p
rm -r /q
set /w 1
rm --with-value 2 /w
rm --with-index 3 /w
rm --with-index -1 /w
rm /w --with-index -1
rm --with-value 1 /w
set /w 1
-o extended rm /w --with-value 1
set /w 1
-o json rm --with-value 1 /w
rm --recursive --with-value 1 /dt
rm --dir --with-index 1 /dt
rm /
rm --recursive /
ls --recursive --sort
`;

export const FLAGS = `
@
@ --help
@ -h
@ -help
@ help
@ h
@ help set
@ help member
@ help member list
@ help none
@ --version
@ -v
@ -v get
@ none
@ -
@ member
@ member --help
@ member help
@ member help add
@ member help none
@ member none
@ member --none
@ member list --none
@ member list -h
@ user
@ user none
@ role
@ role grant --help
@ auth
@ auth none x
@ set --help
@ get /k -h
@ ls --help
@ rm -h
@ mk -h
@ watch -h
@ exec-watch -h
@ cluster-health -h
@ backup -h
@ --none
@ -rp
@ ---x
@ --=x
@ get --=x
@ get ---x
@ get --none
@ get -r /k
@ ls -rp /
@ ls -r --recursive
@ -o json --output simple get
@ -o
@ set --ttl
@ set --ttl x /k v
@ set /k v --ttl
@ set --ttl 1.5 /k v
@ set --ttl 99999999999999999999 /k v
@ set --swap-with-index x /k v
@ get --sort=x /k
@ get --sort=1 --sort=false -h
@ rm --with-index
@ watch --after-index x /k
@ set -o json /k v
@ --timeout 5 get /k
@ --total-timeout x get /k
@ --version=false none
set /k v
get --sort=false /k
get --sort=t /k
get -- /k
get --
@ --endpoints $E -- get /k
@ --endpoints=$E get /k
@ -endpoints $E get /k
@ --endpoint $E get /k
@ --peers $E get /k
@ -C $E get /k
@ ETCDCTL_ENDPOINTS=$E get /k
@ ETCDCTL_ENDPOINT=$E get /k
@ ETCDCTL_PEERS=$E get /k
@ ETCDCTL_ENDPOINTS=http://127.0.0.1:1 --endpoints $E get /k
@ ETCDCTL_ENDPOINT=http://127.0.0.1:1 ETCDCTL_ENDPOINTS=$E get /k
@ ETCDCTL_ENDPOINTS=$E --endpoint http://127.0.0.1:1 get /k
@ --endpoints http://127.0.0.1:1,$E get /k
@ --endpoints localhost:$P get /k
@ --endpoints http://localhost:$P get /k
@ --endpoints 127.0.0.1:$P get /k
@ --endpoints http://:$P get /k
@ --endpoints $E, get /k
@ --endpoints ,$E get /k
@ --endpoints ftp://127.0.0.1,$E get /k
@ --endpoints http://127.0.0.1:99999,$E get /k
@ --endpoints ftp://127.0.0.1:$P get /k
@ --endpoints ftp://127.0.0.1:$P member list
@ --endpoints ftp://127.0.0.1:$P user list
@ --endpoints ftp://127.0.0.1:$P cluster-health
@ --endpoints ftp://127.0.0.1:$P mk /k v
@ --endpoints ftp://127.0.0.1:$P --no-sync mk /k v
@ --endpoints http:// get /k
@ --endpoints http:// member list
@ --endpoints http:// --no-sync rm /k
@ --endpoints http://127.0.0.1:99999 get /k
@ --endpoints http://127.0.0.1:99999 --no-sync get /k
@ --endpoints http://127.0.0.1:99999 member list
@ --endpoints http://[::1 get /k
@ --endpoints http://%zz get /k
@ --endpoints :1 get /k
@ --endpoints http://127.0.0.1:x get /k
@ --endpoints 'http://a b' get /k
@ --endpoints $E/prefix get /k
@ --endpoints $E/ get /k
@ --endpoints http://127.0.0.1:1 get /k
@ --endpoints http://127.0.0.1:1 get
@ --endpoints http://127.0.0.1:1 --no-sync get /k
@ --endpoints http://127.0.0.1:1 --no-sync get
@ --endpoints http://127.0.0.1:1 --no-sync set /k v
@ --endpoints http://127.0.0.1:1 --no-sync mk /k v
@ --endpoints http://127.0.0.1:1 --no-sync mk --in-order /k v
@ --endpoints http://127.0.0.1:1 --no-sync mkdir /k
@ --endpoints http://127.0.0.1:1 --no-sync setdir /k
@ --endpoints http://127.0.0.1:1 --no-sync rm /k
@ --endpoints http://127.0.0.1:1 --no-sync rmdir /k
@ --endpoints http://127.0.0.1:1 --no-sync ls
@ --endpoints http://127.0.0.1:1 --no-sync watch /k
@ --endpoints http://127.0.0.1:1 --no-sync exec-watch -r /k -- true
@ --endpoints http://127.0.0.1:1 watch /k
@ --endpoints http://127.0.0.1:1 member list
@ --endpoints http://127.0.0.1:1 --no-sync member list
@ --endpoints http://127.0.0.1:1 --no-sync member add a http://127.0.0.1:2
@ --endpoints http://127.0.0.1:1 --no-sync member remove 1
@ --endpoints http://127.0.0.1:1 --no-sync member update 1 http://127.0.0.1:2
@ --endpoints http://127.0.0.1:1 --no-sync user list
@ --endpoints http://127.0.0.1:1 --no-sync role list
@ --endpoints http://127.0.0.1:1 --no-sync auth enable
@ --endpoints http://127.0.0.1:1 cluster-health
@ --endpoints http://name.invalid:1 get /k
@ --discovery-srv name.invalid get /k
@ -D name.invalid --insecure-discovery get /k
@ ETCDCTL_DISCOVERY_SRV=name.invalid get /k
--timeout 5s get /k
--timeout 1h2m3.5s get /k
--timeout -1s get /k
--timeout 0 get /k
@ --endpoints $S --timeout 100ms get /k
@ --endpoints $S --timeout 100ms --no-sync get /k
@ --endpoints $S --timeout 100ms --no-sync set /k v
@ --endpoints $S --timeout 100ms --no-sync set --swap-with-value a /k v
@ --endpoints $S --timeout 100ms --no-sync mk /k v
@ --endpoints $S --timeout 100ms --no-sync mk --in-order /k v
@ --endpoints $S --timeout 100ms --no-sync rm /k
@ --endpoints $S --timeout 100ms --no-sync member add n http://127.0.0.1:2
@ --endpoints $S --timeout 100ms --no-sync user list
@ --endpoints $S --timeout 100ms cluster-health
@ --endpoints $S --total-timeout 100ms get /k
@ --endpoints $S --total-timeout 100ms --no-sync get /k
@ --endpoints $S --total-timeout 100ms --no-sync mk /k v
@ --endpoints $S --total-timeout 100ms --no-sync rm /k
@ --endpoints $S --total-timeout 100ms --no-sync member list
@ --endpoints $S --total-timeout 100ms --no-sync role list
@ --endpoints $H get /k
@ --endpoints $H --no-sync get /k
@ --endpoints $H --no-sync mk /k v
@ --endpoints $H member list
@ --endpoints $H cluster-health
@ --endpoints $H user list
@ --endpoints $H user add a:b
--total-timeout 0 get /k
--total-timeout -1s get /k
--total-timeout 0 --no-sync get /k
--total-timeout 0 --no-sync member list
--total-timeout 0 --no-sync user list
--ca-file /none get /k
--cert-file /none get /k
--key-file /none get /k
--cert-file /none --key-file /none get /k
--cert-file /etc/passwd --key-file /etc/passwd get /k
--ca-file /etc/passwd get /k
ETCDCTL_CA_FILE=/none get /k
ETCDCTL_CERT_FILE=/none ETCDCTL_KEY_FILE=/none get /k
--cert-file /none cluster-health
-u root:x get /k
-u root: get /k
ETCDCTL_USERNAME=root:x get /k
--no-sync get /k
--debug get /k
--debug get /none
--debug --no-sync get /k
--debug set /k 'a b&c"d'
--debug set --ttl 500 --swap-with-value 'a b&c"d' /k v
--debug mk --in-order /q x
--debug mk --ttl 700 /m x
--debug mkdir --ttl 700 /dir
--debug setdir /dir2
--debug update /k v2
--debug updatedir /dir
--debug ls --recursive --sort /dir
--debug rm --with-value v2 /k
--debug rm --with-index 1 /m
--debug rm --recursive /dir
--debug rmdir /dir2
--debug set '/sp ace/ü' ü
--debug watch --after-index 3 --recursive /
--debug cluster-health
--debug member list
--debug --no-sync member list
`;

export const WATCHES = `
set /w/a 1
set /w/b 2
mkdir /w/dir
set /w/a 3 --ttl 1000
rm /w/b
update /w/a 4
set --swap-with-value 4 /w/a 5
rm --with-value 5 /w/a
mk --in-order /w/q 6
rm --recursive /w/dir
watch --after-index 3 /w/a
watch /w/a --after-index 4
watch --after-index 4 --recursive /w
watch --after-index 6 -r /w
watch --after-index 7 --recursive /w
watch --after-index 8 --recursive /w
watch --after-index 9 --recursive /w
watch --after-index 10 --recursive /w
watch --after-index 11 --recursive /w
-o json watch --after-index 3 /w/a
-o extended watch --after-index 3 /w/a
-o json watch --after-index 3 --recursive /
-o extended watch --after-index 7 --recursive /w
-o extended watch --after-index 10 --recursive /w
-o yaml watch --after-index 3 /w/a
watch
watch --recursive
exec-watch
exec-watch /w
exec-watch --recursive /w
exec-watch --after-index 3 --recursive /w/a -- /none/such
exec-watch --after-index 3 --recursive /w/a -- no-such-command
`;

export const MEMBERS = `
member list
member list x
cluster-health
cluster-health x
--no-sync cluster-health
member add
member add n
member add n http://127.0.0.1:1 x
member add n 127.0.0.1:1
member add n x
member add n ftp://127.0.0.1:1
member add n http://127.0.0.1
member add n http://127.0.0.1:1/path
member remove
member remove 1
member remove x
member remove default
member remove a b
member update
member update 1
member update 1 http://127.0.0.1:1
member update x http://127.0.0.1:1
member update 1 127.0.0.1:1
member update 1 http://127.0.0.1:1,http://127.0.0.1:2
member update 1 x,y
member add n 'http://127.0.0.1:1'
member list
cluster-health
--no-sync member list
`;

export const AUTH = `
# The first password also starts a thread.
--timeout 30s user add first:p
user remove first
user list
user list x
user add
user add a b
user add joe:secret:word
user get joe
user get none
user get
user add joe:other
user add ann << typed\\n
user passwd joe << typed\\n
user passwd joe
user passwd none << typed\\n
user passwd
user remove none
user remove
user remove ''
user get ''
user grant joe
user grant joe --roles r1
role list
role list x
role add
role add r1
role add r1
role get r1
role get none
role get
role grant r1
role grant r1 --path /a
role grant r1 --path a --read
role grant r1 --path /a//b --read
role grant r1 --path /a --read --write
role grant --path /a --read
role grant r1 --path /a --read
role grant r1 --path /a --read
role grant r1 --path '/b/*' --readwrite
role grant r1 --rw --path '/c/*'
role grant r1 --path /d --write
role grant none --path /a --read
role get r1
role revoke r1 --path /a --read
role revoke r1 --path /a --read
role revoke r1 --path '/c/*' --rw
role revoke r1 --path /a
role revoke r1
role get r1
user grant joe --roles r1
user grant joe --roles r1
user grant none --roles r1
user grant --roles r1
user grant ann --roles r1 --roles root
user get joe
user get ann
user revoke ann --roles root
user revoke ann --roles root
user revoke ann
user get ann
user list
auth enable
auth enable x
auth disable
user add root:rootpw
-o json user list
--debug user list
--debug role add r2
--debug user add bob:pw
--debug role grant r2 --path '/x/*' --rw
--debug user grant bob --roles r2
auth enable
auth enable
user list
-u root:rootpw user list
-u root:wrong user list
-u root:rootpw role list
-u root:rootpw auth enable
-u root:rootpw set /b/k 1
-u root:rootpw role revoke guest --path '/*' --readwrite
get /b/k
set /b/k 2
-o json set /b/k 2
ls
-u joe:secret:word get /b/k
-u root << rootpw\\n
ETCDCTL_USERNAME=root:rootpw get /b/k
-u bob:pw set /x/k 1
-u bob:pw set /y/k 1
-u bob:pw get /b/k
-u bob:pw ls --recursive /
-u bob:wrong get /x/k
-u none:pw get /x/k
-u bob:pw user list
-u bob:pw member list
member list
-u bob:pw watch --after-index 3 /b/k
-u root:rootpw user passwd bob << newpw\\n
-u bob:newpw get /x/k
-u root:rootpw role remove r2
-u root:rootpw role remove none
-u root:rootpw user remove bob
-u root:rootpw user remove root
-u root:rootpw role remove root
role remove
auth disable
-u root:rootpw auth disable
auth disable
set /b/k 3
role remove r1
user get joe
user remove joe
`;
