# Busybox applets on data that awk makes: what they print is the same on every processor.
b=busybox
$b awk 'BEGIN { x = 12345; for (i = 0; i < 60000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print x, i % 97, "line" i } }' > data
for sum in md5sum sha1sum sha256sum sha512sum sha3sum; do $b $sum < data; done
$b sort -n data | $b md5sum
$b sort -k3 -r data | $b md5sum
$b cut -d' ' -f2 data | $b sort | $b uniq -c | $b sort -rn | $b head -n 3
$b sed -e 's/\([0-9]*\) \([0-9]*\) line\([0-9]*\)/\3:\2:\1/' -e '/^1[0-9]*7:/d' data | $b sha1sum
$b grep -E -c '^1.*9 .*(11|77)$' data
$b tr 'a-z0-9' 'A-Za-j' < data | $b md5sum
$b awk '{ s += $1; q += $1 * $1; h[$2]++ } END { printf "%.0f %.6e %d\n", s, q, length(h) }' data
$b awk 'BEGIN { for (i = 1; i <= 30; i++) printf "%.15g ", i / 7 + i % 2.5 - 1e9 / i; print "" }'
for level in 1 6 9; do
  $b gzip -$level -c data > data.gz
  $b md5sum < data.gz
  $b gunzip -c data.gz | $b cmp - data && echo "gzip $level round trip"
done
$b bzip2 -9 -c data > data.bz2 && $b md5sum < data.bz2 && $b bunzip2 -c data.bz2 | $b cmp - data && echo "bzip2 round trip"
$b tar -c data | $b tar -x -O | $b md5sum
printf '%s\n' 'define f(n) {' 'if (n < 2) return 1;' 'return n * f(n - 1);' '}' 'f(120)' '2^500 % 10^40' 'scale = 60' 'sqrt(2)' \
  '4 * a(1)' 'e(1)' | $b bc -l
$b dc -e '40k 2 v p 3 200 ^ p 17 1000 1000007 | p'
$b base64 data | $b base64 -d | $b md5sum
$b od -x data | $b tail -n 4
$b xxd data | $b xxd -r | $b md5sum
$b uuencode data name | $b md5sum
$b nl data | $b rev | $b tac | $b md5sum
$b seq 1 20000 | $b xargs -n 500 echo | $b wc
$b diff data data && $b head -n 500 data > head && $b sed 's/5/five/' head | $b diff head - | $b md5sum
i=0; while [ $i -lt 60 ]; do $b true && (exit 3) || i=$((i + 1)); done; echo "forked $i"
$b factor 600851475143 18446744073709551557
