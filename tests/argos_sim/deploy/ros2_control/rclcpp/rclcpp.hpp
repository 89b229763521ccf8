// What docs/onnx_contract.md's controller uses of rclcpp, declared as ROS 2 Jazzy has it.
#pragma once

#include <string>

namespace rclcpp {

class Duration {
 public:
  double seconds() const;
};

class Time {
 public:
  /// These throw std::runtime_error where the two are of different clocks.
  bool operator<(const Time& rhs) const;
  Duration operator-(const Time& rhs) const;
};

class Parameter {
 public:
  const std::string& as_string() const;
};

class Logger {};

}  // namespace rclcpp

// As rclcpp's: the text is a format of printf's.
#define RCLCPP_ERROR(logger, ...) ((void)(logger), ros_stand_in::log(__VA_ARGS__))

namespace ros_stand_in {
__attribute__((format(printf, 1, 2))) void log(const char* format, ...);
}  // namespace ros_stand_in
