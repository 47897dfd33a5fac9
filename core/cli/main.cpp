#include "core/cli/message.hpp"
#include "core/cli/run.hpp"
#include "core/machine/machine.hpp"

namespace {

using namespace doppel;

// `doppel selftest` turns the guest's verdict into a sentence and 0 or 1.
int selftest(const cli::RunOptions& options) {
  const int status = cli::run(options);
  if (machine::selftest_passed(status)) {
    cli::print(stdout, "doppel selftest: passed\n");
    return 0;
  }
  cli::print(stderr, "doppel selftest: failed with status {}\n", status);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto parsed = doppel::cli::parse_command_line(argc, argv);
  if (const auto* exit = std::get_if<doppel::cli::ExitNow>(&parsed)) {
    doppel::cli::print(exit->status == 0 ? stdout : stderr, "{}", exit->text);
    return exit->status;
  }
  if (const auto* call = std::get_if<doppel::cli::ControlCall>(&parsed))
    return doppel::cli::call_control(*call);
  const auto& options = std::get<doppel::cli::RunOptions>(parsed);
  return options.selftest ? selftest(options) : doppel::cli::run(options);
}
