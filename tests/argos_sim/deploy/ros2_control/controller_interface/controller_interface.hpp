// What docs/onnx_contract.md's controller uses of ros2_control, declared as its Jazzy (4.x) and later releases have it.
//
// Written anew from https://github.com/ros-controls/ros2_control, controller_interface_base.hpp and hardware_interface's
// loaned_command_interface.hpp and loaned_state_interface.hpp. Humble's get_value() and void set_value() are not there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "rclcpp_lifecycle/lifecycle_node.hpp"

namespace hardware_interface {

class LoanedStateInterface {
 public:
  [[deprecated("Use std::optional<T> get_optional() instead")]] double get_value() const;

  /// None where another thread holds the value.
  template <typename T = double>
  [[nodiscard]] std::optional<T> get_optional(unsigned int max_tries = 10) const;
};

class LoanedCommandInterface {
 public:
  /// False where another thread holds the value.
  template <typename T>
  [[nodiscard]] bool set_value(const T& value, unsigned int max_tries = 10) {
    static_assert(std::is_same_v<T, double>, "an effort is a double: newer releases throw at others, as they run");
    return set(value, max_tries);
  }

 private:
  bool set(double value, unsigned int max_tries);
};

}  // namespace hardware_interface

namespace controller_interface {

using CallbackReturn = rclcpp_lifecycle::node_interfaces::LifecycleNodeInterface::CallbackReturn;

enum class return_type : std::uint8_t { OK = 0, ERROR = 1 };
enum class interface_configuration_type : std::uint8_t { ALL = 0, INDIVIDUAL = 1, NONE = 2 };

struct InterfaceConfiguration {
  interface_configuration_type type;
  std::vector<std::string> names = {};
};

class ControllerInterface : public rclcpp_lifecycle::node_interfaces::LifecycleNodeInterface {
 public:
  virtual InterfaceConfiguration command_interface_configuration() const = 0;
  virtual InterfaceConfiguration state_interface_configuration() const = 0;
  virtual CallbackReturn on_init() = 0;
  virtual return_type update(const rclcpp::Time& time, const rclcpp::Duration& period) = 0;

  std::shared_ptr<rclcpp_lifecycle::LifecycleNode> get_node();
  unsigned int get_update_rate() const;

  template <typename ParameterT>
  auto auto_declare(const std::string& name, const ParameterT& default_value) {
    (void)name;
    return default_value;
  }

 protected:
  std::vector<hardware_interface::LoanedCommandInterface> command_interfaces_;
  std::vector<hardware_interface::LoanedStateInterface> state_interfaces_;
};

}  // namespace controller_interface
