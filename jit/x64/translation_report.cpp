#include "jit/x64/translation_report.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "core/log.hpp"
#include "jit/listing.hpp"

namespace doppel::jit::x64 {

std::string side_by_side(const NewTranslation& t) {
  std::string out = fmt::format("block at {:#x} (physical {:#x}): {} instructions, {} host bytes\n", t.linear,
                                t.block.physical, t.block.count, t.host.size());
  std::vector<std::string> guest = listing_lines(t.guest, t.linear, t.block.code_bits);
  guest.resize(t.starts.size() - 1);  // the last ones may be part of what comes before
  guest.emplace_back("out of line");
  for (std::size_t i = 0; i < guest.size(); ++i) {
    const std::size_t begin = t.starts[i], end = i + 1 < t.starts.size() ? t.starts[i + 1] : t.host.size();
    std::string left = guest[i];
    for (const std::string& line : listing_lines(t.host.subspan(begin, end - begin), t.address + begin)) {
      out += fmt::format("  {:<56} | {}\n", left, line);
      left.clear();
    }
    if (!left.empty()) out += fmt::format("  {:<56} |\n", left);
  }
  return out;
}

// The name is fixed by perf, so anybody may have put something there before: never follow a link.
void TranslationReport::open_perf_map() {
  const std::string path = fmt::format("/tmp/perf-{}.map", ::getpid());
  const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
  const int fd = ::open(path.c_str(), flags, 0644);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), path);
  perf_map_.reset(::fdopen(fd, "w"));
  std::setvbuf(perf_map_.get(), nullptr, _IOLBF,
               0);  // complete up to the last block, however the process ends
}

void TranslationReport::name(u64 address, u64 size, const std::string& what) {
  if (perf_map_) fmt::print(perf_map_.get(), "{:x} {:x} {}\n", address, size, what);
}

void TranslationReport::translated(const NewTranslation& t) {
  name(t.address, t.host.size(), fmt::format("guest_{:#x}", t.linear));
  const bool dump = std::ranges::any_of(dumped_, [&](u64 at) { return at - t.linear < t.block.bytes; });
  if (dump) fmt::print(stderr, "{}", side_by_side(t));
  if (core::log_enabled(core::LogCategory::kJit)) core::log(core::LogCategory::kJit, "{}", side_by_side(t));
}

}  // namespace doppel::jit::x64
