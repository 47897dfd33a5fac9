// A deque for many small things whose addresses must stay: allocates 64 KiB at a time.
#pragma once

#include <boost/container/deque.hpp>

#include "core/populated_allocator.hpp"
#include "core/types.hpp"

namespace doppel::core {

template <class T>
using LargeDeque = boost::container::deque<
    T, PopulatedAllocator<T>,
    boost::container::deque_options<boost::container::block_bytes<u32{64} << 10>>::type>;

}  // namespace doppel::core
