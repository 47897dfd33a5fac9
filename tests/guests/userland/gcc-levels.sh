# The programs of gcc.sh at other levels of optimisation: minutes, so not among the checks that always run.
for program in floats vectors signals threads language; do
  for options in -O0 -O1 "-O3 -fno-pie -no-pie -funroll-loops -mtune=intel"; do
    gcc -std=gnu11 -w $options /checks/c/$program.c -o $program -pthread -lm
    timeout 120 ./$program > output || echo "$program $options: status $?"
    sha256sum < output
  done
done
