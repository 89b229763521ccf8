// What docs/onnx_contract.md's controller uses of rclcpp_lifecycle, declared as ROS 2 Jazzy has it.
#pragma once

#include <cstdint>
#include <string>

#include "rclcpp/rclcpp.hpp"

namespace rclcpp_lifecycle {

class State {};

class LifecycleNode {
 public:
  rclcpp::Logger get_logger() const;
  rclcpp::Parameter get_parameter(const std::string& name) const;
};

namespace node_interfaces {

class LifecycleNodeInterface {
 public:
  enum class CallbackReturn : std::uint8_t { SUCCESS = 97, FAILURE = 98, ERROR = 99 };

  virtual ~LifecycleNodeInterface() = default;
  virtual CallbackReturn on_configure(const State& previous_state);
  virtual CallbackReturn on_cleanup(const State& previous_state);
  virtual CallbackReturn on_shutdown(const State& previous_state);
  virtual CallbackReturn on_activate(const State& previous_state);
  virtual CallbackReturn on_deactivate(const State& previous_state);
  virtual CallbackReturn on_error(const State& previous_state);
};

}  // namespace node_interfaces
}  // namespace rclcpp_lifecycle
