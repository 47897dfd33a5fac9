# Text, numbers, big numbers, sorting, packing, closures, processes.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Math::BigInt;
use Math::BigFloat;
use MIME::Base64;
use POSIX qw(floor fmod strtod);
use List::Util qw(reduce shuffle sum0);
use Storable qw(freeze thaw);
use Time::HiRes qw(alarm);

$| = 1;
my $x = 12345;
my @values = map { $x = ($x * 1103515245 + 12345) % 2147483648 } 1 .. 20000;
print "sum @{[sum0 @values]}\n";
print "sorted ", sha256_hex(join ",", sort { $a <=> $b } @values), "\n";
print "text ", sha256_hex(join ",", sort map { sprintf "%x", $_ } @values), "\n";
my %count;
$count{ $_ % 101 }++ for @values;
print "counts ", join(" ", map { "$_=$count{$_}" } (sort { $count{$b} <=> $count{$a} || $a <=> $b } keys %count)[0 .. 5]), "\n";
print "factorial ", Math::BigInt->new(80)->bfac, "\n";
print "power ", Math::BigInt->new("123456789012345678901234567890")->bmodpow("98765432109876543210", "1000000007000000000049"), "\n";
print "root ", Math::BigFloat->new(2)->bsqrt(60), "\n";
print "floats ", join(" ", map { sprintf "%.15g", $_ } sin(1), exp(10), log(7), atan2(1, 2), sqrt(3), 2**0.5, fmod(10.5, 3), 1e308 * 10, 9**9**9 / 9**9**9), "\n";
print "integers ", join(" ", -7 / 2, -7 % 3, 18446744073709551615, 18446744073709551615 + 1, ~0 >> 3, 1 << 40, int(-3.7)), "\n";
my $text = join "", map { chr(97 + $_ % 26) . ($_ % 7 ? "" : " ") } @values;
my $words = () = $text =~ /\b\w{5,}\b/g;
print "words $words\n";
(my $changed = $text) =~ s/([aeiou])(\w)/$2$1/g;
$changed =~ tr/a-m/A-M/;
print "changed ", sha256_hex($changed), "\n";
print "nested ", "((a(b)c)(d))" =~ /^(\((?:[^()]|(?1))*\))$/ ? "matches" : "fails", "\n";
print "pack ", unpack("H*", pack("w n N v V q> d> f< A5 b8", 300, 1, 2, 3, 4, -5, 1.5, -2.25, "abc", "10110011")), "\n";
print "base64 ", decode_base64(encode_base64($text)) eq $text ? "round trip" : "differs", "\n";
my $deep = thaw(freeze({ list => [1 .. 50], hash => { map { $_ => $_**2 } 1 .. 50 } }));
print "storable ", sum0(values %{ $deep->{hash} }), "\n";
my @adders = map { my $n = $_; sub { $n += shift } } 1 .. 100;
$adders[$_ % 100]->($_) for 1 .. 20000;
print "closures ", sum0(map { $_->(0) } @adders), "\n";
print "reduce ", (reduce { ($a * 31 + $b) % 1000003 } @values), "\n";
my $caught = 0;
for (1 .. 2000) { eval { die { code => $_ } if $_ % 3; 1 } or $caught += $@->{code} }
print "exceptions $caught\n";
my $total = 0;
for my $i (1 .. 20) {
  my $pid = open(my $child, "-|") // die "fork: $!";
  if (!$pid) { print $i * $i; exit 0 }
  $total += <$child>;
  close $child;
}
print "children $total\n";
my $alarms = 0;
local $SIG{ALRM} = sub { $alarms++; alarm(0.003) if $alarms < 5 };
alarm(0.003);
my $spin = 0;
$spin++ while $alarms < 5 && $spin < 2_000_000_000;
print "alarms $alarms\n";
