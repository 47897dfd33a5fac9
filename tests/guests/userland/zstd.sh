# Round trips through every kind of match finder, and the compressed bytes themselves.
head -c 900000 /usr/bin/perl > data
seq 1 30000 >> data
for level in -5 -1 -3 -6 -9 -13 -16 -19; do
  case $level in -5) level=--fast=5 ;; esac
  zstd -q -T1 $level -c data > data.zst
  sha256sum < data.zst
  zstd -q -d -c data.zst | cmp - data && echo "zstd $level round trip"
done
zstd -q -t data.zst && echo tested
zstd -q -T1 --long=24 -c data | zstd -q -d --long=24 -c | cmp - data && echo long
printf 'x' | dd of=data.zst bs=1 seek=5000 conv=notrunc 2> /dev/null
zstd -q -d -c data.zst > /dev/null 2>&1 || echo "damage seen"
