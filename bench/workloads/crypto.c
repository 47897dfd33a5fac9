// A fixed amount of work for Debian's libcrypto: `crypto sha256|aes MEGABYTES`, `crypto rsa SIGNATURES`.
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kChunk = 1 << 20 };

static unsigned char data[kChunk], result[kChunk + 64];

static void check(int good) {
  if (good) return;
  fputs("crypto: libcrypto failed\n", stderr);
  exit(1);
}

static void print(const unsigned char* bytes, size_t length) {
  for (size_t i = 0; i < length; ++i) printf("%02x", bytes[i]);
  putchar('\n');
}

static void sha256(int megabytes) {
  unsigned length;
  EVP_MD_CTX* hash = EVP_MD_CTX_new();
  check(EVP_DigestInit_ex(hash, EVP_sha256(), 0));
  for (int i = 0; i < megabytes; ++i) check(EVP_DigestUpdate(hash, data, kChunk));
  check(EVP_DigestFinal_ex(hash, result, &length));
  print(result, length);
}

static void aes(int megabytes) {
  int length;
  EVP_CIPHER_CTX* cipher = EVP_CIPHER_CTX_new();
  check(EVP_EncryptInit_ex(cipher, EVP_aes_128_cbc(), 0, (const unsigned char*)"sixteen byte key",
                           (const unsigned char*)"and sixteen more"));
  for (int i = 0; i < megabytes; ++i) check(EVP_EncryptUpdate(cipher, result, &length, data, kChunk));
  print(result + kChunk - 16, 16);
}

static void rsa(int signatures) {
  FILE* file = fopen("key.pem", "r");
  EVP_PKEY* key = file ? PEM_read_PrivateKey(file, 0, 0, 0) : 0;
  check(key != 0);
  size_t length = 0;
  for (int i = 0; i < signatures; ++i) {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    length = sizeof result;
    data[0] = (unsigned char)i;
    check(EVP_DigestSignInit(context, 0, EVP_sha256(), 0, key) &&
          EVP_DigestSign(context, result, &length, data, 64));
    EVP_MD_CTX_free(context);
  }
  print(result, length);
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  for (int i = 0; i < kChunk; ++i) data[i] = (unsigned char)(i * 7 + (i >> 8));
  int size = atoi(argv[2]);
  if (!strcmp(argv[1], "sha256")) sha256(size);
  if (!strcmp(argv[1], "aes")) aes(size);
  if (!strcmp(argv[1], "rsa")) rsa(size);
}
