// Steps of the controller from a file of floats to another, for test_cpp.py: of each step vision, proprio, target_vision,
// target_proprio and time_to_go, and of what comes out whether it was refused, then the torque.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <locale>

#include "argos_controller.hpp"

// A program's own locale, as a German one: it must not change how the file's numbers are read.
struct Comma : std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
};

int main(int count, char** arguments) {
  if (count != 6) return 2;
  std::locale::global(std::locale(std::locale(), new Comma));
  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "argos");
  try {
    argos::Controller controller(env, arguments[1]);
    std::ifstream in(arguments[2], std::ios::binary);
    std::ofstream out(arguments[3], std::ios::binary);
    const std::size_t patches = std::stoul(arguments[4]), dim = std::stoul(arguments[5]);
    std::vector<float> vision(patches), proprio(dim), target_vision(patches), target_proprio(dim), to_go(1);
    std::vector<float> torque(controller.joint_names().size());
    const auto read = [&in](std::vector<float>& values) {
      return bool(in.read(reinterpret_cast<char*>(values.data()), std::streamsize(sizeof(float) * values.size())));
    };
    double seconds = 0.0;
    int steps = 0;
    while (read(vision) && read(proprio) && read(target_vision) && read(target_proprio) && read(to_go)) {
      const auto begin = std::chrono::steady_clock::now();
      const float done = controller.step(vision, proprio, target_vision, target_proprio, to_go[0], torque) ? 1 : 0;
      seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      ++steps;
      out.write(reinterpret_cast<const char*>(&done), sizeof done);
      out.write(reinterpret_cast<const char*>(torque.data()), std::streamsize(sizeof(float) * torque.size()));
    }
    std::printf("%g Hz, %s first, %.3f ms a step\n", controller.control_hz(), controller.joint_names()[0].c_str(),
                1e3 * seconds / steps);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
