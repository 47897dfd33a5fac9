#include "jit/page_journal.hpp"

#include <algorithm>
#include <cstring>

namespace doppel::jit {

using core::kPageSize;

namespace {
constexpr std::size_t kKeptPages = 256;  // buffers that outlive a run
}

PageJournal::PageJournal(core::GuestRam& ram) : ram_(ram), stamps_(ram.size() / kPageSize) {}

void PageJournal::start() {
  if (pages_.size() > kKeptPages) pages_.resize(kKeptPages);
  count_ = 0;
  device_stamps_.clear();
  if (++run_ == 0) {
    std::fill(stamps_.begin(), stamps_.end(), 0u);
    run_ = 1;
  }
  recording_ = true;
  rewound_ = entries_marked_ = false;
}

void PageJournal::rewind() {
  for (std::size_t i = 0; i < count_; ++i) {
    Page& page = *pages_[i];
    if (!rewound_) std::memcpy(page.first.data(), page.host, kPageSize);
    std::memcpy(page.host, page.before.data(), kPageSize);
  }
  rewound_ = true;
}

u32& PageJournal::stamp_of(u64 page) {
  return ram_.host(page) ? stamps_[ram_.offset_of(page) / kPageSize] : device_stamps_[page];
}

void PageJournal::page_writable(u64 physical, u8* host) {
  if (!recording_ || stamp_of(physical) == run_) return;
  stamp_of(physical) = run_;
  if (count_ == pages_.size()) pages_.push_back(std::make_unique<Page>());
  Page& page = *pages_[count_++];
  page.physical = physical;
  page.host = host;
  std::memcpy(page.before.data(), page.host, kPageSize);
  if (rewound_) page.first = page.before;  // not written the first time
}

void PageJournal::entry_marked(u64 physical) {
  if (recording_ && stamp_of(physical) == run_) entries_marked_ = true;
}

std::vector<PageJournal::Difference> PageJournal::differences(std::size_t limit) const {
  std::vector<Difference> out;
  for (std::size_t i = 0; i < count_; ++i) {
    const Page& page = *pages_[i];
    if (std::memcmp(page.first.data(), page.host, kPageSize) == 0) continue;
    for (u64 at = 0; at < kPageSize && out.size() < limit; at += 8) {
      if (std::memcmp(&page.first[at], page.host + at, 8) == 0) continue;
      Difference& d = out.emplace_back(Difference{page.physical + at, 0, 0, 0});
      std::memcpy(&d.before, &page.before[at], 8);
      std::memcpy(&d.first, &page.first[at], 8);
      std::memcpy(&d.now, page.host + at, 8);
    }
  }
  return out;
}

}  // namespace doppel::jit
