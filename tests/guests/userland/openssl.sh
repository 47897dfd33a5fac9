# Digests, ciphers and signatures: known data, and what one key signs the other half verifies.
head -c 700001 /usr/bin/openssl > data
for digest in md5 ripemd160 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 sha3-512 shake256 blake2b512 blake2s256 sm3; do
  openssl dgst -$digest data
done
openssl dgst -sha256 -hmac secret data
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f iv=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc aes-128-ctr aes-256-ctr aes-256-cfb aes-256-ofb chacha20 camellia-256-cbc aria-256-ctr sm4-cbc des-ede3-cbc; do
  case $cipher in
    *-128-* | sm4-*) bits=32 ;;
    *-192-* | des-ede3-*) bits=48 ;;
    *) bits=64 ;;
  esac
  case $cipher in des-*) v=f0f1f2f3f4f5f6f7 ;; *) v=$iv ;; esac
  openssl enc -$cipher -K $(echo $key | cut -c 1-$bits) -iv $v -in data -out sealed
  openssl dgst -r -sha256 sealed
  openssl enc -d -$cipher -K $(echo $key | cut -c 1-$bits) -iv $v -in sealed | cmp - data && echo "$cipher round trip"
done
openssl enc -aes-256-cbc -pbkdf2 -iter 20000 -S 0102030405060708 -pass pass:words -in data | openssl dgst -r -sha256
openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:words -kdfopt salt:salt -kdfopt iter:10000 PBKDF2
openssl kdf -keylen 32 -kdfopt pass:words -kdfopt salt:salt -kdfopt n:1024 -kdfopt r:8 -kdfopt p:1 SCRYPT
openssl prime 2305843009213693951 170141183460469231731687303715884105727 170141183460469231731687303715884105729
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa.pem 2> log
for curve in P-256 P-384 secp256k1; do openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$curve -out $curve.pem; done
openssl genpkey -algorithm ed25519 -out ed25519.pem
for key in rsa P-256 P-384 secp256k1; do
  openssl pkey -in $key.pem -pubout -out public.pem
  openssl dgst -sha256 -sign $key.pem -out signature data
  openssl dgst -sha256 -verify public.pem -signature signature data
  echo "$key"
done
openssl pkey -in ed25519.pem -pubout -out public.pem
head -c 1000 data > short
openssl pkeyutl -sign -rawin -inkey ed25519.pem -in short -out signature
openssl pkeyutl -verify -rawin -pubin -inkey public.pem -in short -sigfile signature
# PKCS #1 v1.5 signatures of a known key are the same everywhere.
openssl pkeyutl -sign -inkey /checks/rsa_key.pem -in short -rawin -digest sha256 | openssl dgst -r -sha256
for side in a b; do openssl genpkey -algorithm X25519 -out $side.pem; openssl pkey -in $side.pem -pubout -out $side.pub; done
openssl pkeyutl -derive -inkey a.pem -peerkey b.pub -out ab
openssl pkeyutl -derive -inkey b.pem -peerkey a.pub | cmp - ab && echo "X25519 agrees"
for what in "-evp aes-128-gcm" sha256 ecdsap256; do
  openssl speed -seconds 1 -bytes 8192 $what > speed 2> log && echo "speed $what done"
done
