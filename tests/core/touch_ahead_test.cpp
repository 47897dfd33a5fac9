#include "core/touch_ahead.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "core/growing_array.hpp"

namespace doppel::core {

namespace {

constexpr std::size_t kPage = 4096, kPages = 256, kSize = kPages * kPage;

void* map(int protection) {
  void* memory = ::mmap(nullptr, kSize, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  return memory;
}

std::size_t resident_pages(void* memory) {
  std::vector<unsigned char> pages(kPages);
  REQUIRE(::mincore(memory, kSize, pages.data()) == 0);
  return static_cast<std::size_t>(std::ranges::count_if(pages, [](auto page) { return page & 1; }));
}

bool is_there_soon(void* memory) {
  for (int i = 0; i < 10'000 && resident_pages(memory) != kPages; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return resident_pages(memory) == kPages;
}

}  // namespace

TEST_CASE("touch_ahead: the memory is there soon, and unchanged") {
  void* const memory = map(PROT_READ | PROT_WRITE);
  auto* const bytes = static_cast<char*>(memory);
  bytes[kPage] = 7;
  touch_ahead(memory, kSize);
  CHECK(resident_pages(memory) == 1);  // nobody listens
  {
    const TouchAhead thread;
    touch_ahead(memory, kSize);
    CHECK(is_there_soon(memory));
  }
  CHECK(bytes[kPage] == 7);
  CHECK(std::ranges::count(bytes, bytes + kSize, 0) == kSize - 1);
  ::munmap(memory, kSize);
}

TEST_CASE("touch_ahead: what is left alone may go") {
  const TouchAhead thread;
  for (int i = 0; i < 300; ++i) {
    void* const memory = map(PROT_READ | PROT_WRITE);
    touch_ahead(memory, kSize);
    if (i % 2) std::this_thread::sleep_for(std::chrono::microseconds(50));
    leave_alone(memory, kSize);
    // A touch from here on would be a fault.
    REQUIRE(::mprotect(memory, kSize, PROT_NONE) == 0);
    REQUIRE(::munmap(memory, kSize) == 0);
  }
}

TEST_CASE("touch_ahead: memory that cannot be had is passed over") {
  const TouchAhead thread;
  void* const none = map(PROT_NONE);
  void* const memory = map(PROT_READ | PROT_WRITE);
  touch_ahead(none, kSize);
  touch_ahead(memory, kSize);
  CHECK(is_there_soon(memory));
  for (void* gone : {none, memory}) {
    leave_alone(gone, kSize);
    ::munmap(gone, kSize);
  }
}

TEST_CASE("growing array: elements are made in steps and stay where they are") {
  const TouchAhead thread;
  static int alive;
  struct Element {
    Element() { ++alive; }
    ~Element() { --alive; }
    int value = 42;
  };
  alive = 0;
  {
    GrowingArray<Element> array(3000, 1000);
    CHECK(array.begin() == array.end());
    array.grow();
    Element* const first = array.data();
    first->value = 1;
    array.grow();
    array.grow();
    CHECK(alive == 3000);
    CHECK(array.size() == 3000);
    CHECK(array.data() == first);
    CHECK(first->value == 1);
    CHECK(std::all_of(array.begin() + 1, array.end(), [](const Element& one) { return one.value == 42; }));
  }
  CHECK(alive == 0);
}

}  // namespace doppel::core
