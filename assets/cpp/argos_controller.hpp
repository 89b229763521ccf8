// The exported controller of an ARGOS policy in C++17, with onnxruntime's C++ API (1.13 or newer).
//
// The same as argos_sim/deploy/runtime.py: latents in, torques out, one control step at a time. It keeps the history and
// the last action, and refuses what is not finite. docs/onnx_contract.md says what the numbers mean. It does not guard:
// what it returns is within the torque limits and nothing else; argos_sim/deploy/safety.py says what a guard must do.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <locale>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace argos {

/// Any network of a policy for one row, on one thread; its arrays are made once, so that a call allocates none of them.
class Network {
 public:
  /// Throws Ort::Exception where there is no such network, std::runtime_error where it has an input that is not float.
  Network(Ort::Env& env, const std::string& path) : session_(env, path.c_str(), options()) {
    Ort::AllocatorWithDefaultOptions allocator;
    for (std::size_t i = 0; i < session_.GetInputCount(); ++i) {
      input_names_.emplace_back(session_.GetInputNameAllocated(i, allocator).get());
      add(session_.GetInputTypeInfo(i), inputs_, input_values_);
    }
    for (std::size_t i = 0; i < session_.GetOutputCount(); ++i) {
      output_names_.emplace_back(session_.GetOutputNameAllocated(i, allocator).get());
      add(session_.GetOutputTypeInfo(i), outputs_, output_values_);
    }
    for (const auto& name : input_names_) input_pointers_.push_back(name.c_str());
    for (const auto& name : output_names_) output_pointers_.push_back(name.c_str());
  }

  /// The array of an input, row-major, to be filled before run().
  std::vector<float>& input(const std::string& name) { return *inputs_.at(index(input_names_, name)); }

  /// The array of an output, row-major, of the last run().
  const std::vector<float>& output(const std::string& name) const {
    return *outputs_.at(index(output_names_, name));
  }

  void run() {
    session_.Run(run_options_, input_pointers_.data(), input_values_.data(), input_values_.size(),
                 output_pointers_.data(), output_values_.data(), output_values_.size());
  }

  /// What the file states of itself, such as "argos.joint_names"; empty where it states nothing.
  std::string stated(const std::string& key) const {
    Ort::AllocatorWithDefaultOptions allocator;
    auto value = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(key.c_str(), allocator);
    return value ? value.get() : "";
  }

 private:
  using Arrays = std::vector<std::unique_ptr<std::vector<float>>>;

  static Ort::SessionOptions options() {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    options.SetInterOpNumThreads(1);
    options.SetExecutionMode(ORT_SEQUENTIAL);
    return options;
  }

  static std::size_t index(const std::vector<std::string>& names, const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) throw std::runtime_error("The network has no array " + name + ".");
    return static_cast<std::size_t>(found - names.begin());
  }

  static void add(const Ort::TypeInfo& type, Arrays& arrays, std::vector<Ort::Value>& values) {
    const auto info = type.GetTensorTypeAndShapeInfo();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT)
      throw std::runtime_error("argos::Network takes networks of floats alone: controller, proprio and joints.");
    auto shape = info.GetShape();
    std::size_t size = 1;
    for (auto& length : shape) size *= static_cast<std::size_t>(length = std::max<std::int64_t>(length, 1));
    arrays.push_back(std::make_unique<std::vector<float>>(size));
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    values.push_back(
        Ort::Value::CreateTensor<float>(memory, arrays.back()->data(), size, shape.data(), shape.size()));
  }

  Ort::Session session_;
  Ort::RunOptions run_options_;
  std::vector<std::string> input_names_, output_names_;
  std::vector<const char*> input_pointers_, output_pointers_;
  Arrays inputs_, outputs_;
  std::vector<Ort::Value> input_values_, output_values_;
};

/// Keeps the history and runs controller.onnx; reset() when an episode begins, step() once a control period.
class Controller {
 public:
  /// Throws std::runtime_error if the file does not state what it is, as exports before format 3 do not.
  Controller(Ort::Env& env, const std::string& path) : network_(env, path) {
    joint_names_ = names(network_.stated("argos.joint_names"));
    torque_limits_ = numbers(network_.stated("argos.torque_limits"));
    action_scale_ = numbers(network_.stated("argos.action_scale"));
    const auto rate = numbers(network_.stated("argos.control_hz"));
    const auto joints = joint_names_.size();
    if (joints == 0 || torque_limits_.size() != joints || action_scale_.size() != joints || rate.size() != 1 ||
        network_.output("torque").size() != joints || !positive(torque_limits_) || !positive(action_scale_) ||
        !positive(rate))
      throw std::runtime_error(path + " does not state its joints, limits and rate. Export the policy again.");
    control_hz_ = rate[0];
    dim_ = network_.input("target_proprio").size();
    reset();
  }

  const std::vector<std::string>& joint_names() const { return joint_names_; }
  double control_hz() const { return control_hz_; }

  /// Forget the past: the next latent fills the whole history, and the last action is zero.
  void reset() {
    fresh_ = true;
    auto& action = network_.input("last_action");
    std::fill(action.begin(), action.end(), 0.0F);
  }

  /// Torques [N·m] for this control step, in the order of joint_names().
  ///
  /// vision and target_vision are (P, C) row-major, proprio and target_proprio (D), all standardised; time_to_go is
  /// until the target is due [s]. False, and the history and `torque` as before, where a size is wrong or a number is
  /// not finite: then command what the arm does without a policy. Throws Ort::Exception where the network fails; the
  /// history is as before then, too.
  bool step(const std::vector<float>& vision, const std::vector<float>& proprio,
            const std::vector<float>& target_vision, const std::vector<float>& target_proprio, float time_to_go,
            std::vector<float>& torque) {
    auto& history = network_.input("proprio");
    if (vision.size() != network_.input("vision").size() || target_vision.size() != vision.size() ||
        proprio.size() != dim_ || target_proprio.size() != dim_ || torque.size() != joint_names_.size() ||
        !finite(vision) || !finite(proprio) || !finite(target_vision) || !finite(target_proprio) ||
        !std::isfinite(time_to_go))
      return false;
    before_.assign(history.begin(), history.end());
    if (fresh_) {
      for (std::size_t i = 0; i < history.size(); ++i) history[i] = proprio[i % dim_];
    } else {
      std::copy(history.begin() + static_cast<std::ptrdiff_t>(dim_), history.end(), history.begin());
      std::copy(proprio.begin(), proprio.end(), history.end() - static_cast<std::ptrdiff_t>(dim_));
    }
    std::copy(vision.begin(), vision.end(), network_.input("vision").begin());
    std::copy(target_vision.begin(), target_vision.end(), network_.input("target_vision").begin());
    std::copy(target_proprio.begin(), target_proprio.end(), network_.input("target_proprio").begin());
    network_.input("time_to_go")[0] = time_to_go;
    try {
      network_.run();
    } catch (...) {
      std::copy(before_.begin(), before_.end(), history.begin());
      throw;
    }
    const auto& found = network_.output("torque");
    if (!finite(found)) {
      std::copy(before_.begin(), before_.end(), history.begin());
      return false;
    }
    fresh_ = false;
    auto& action = network_.input("last_action");
    for (std::size_t j = 0; j < torque.size(); ++j) {
      torque[j] = std::clamp(found[j], -torque_limits_[j], torque_limits_[j]);
      action[j] = found[j] / action_scale_[j];
    }
    return true;
  }

 private:
  static bool finite(const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); });
  }

  static bool positive(const std::vector<float>& values) {
    return finite(values) && std::all_of(values.begin(), values.end(), [](float x) { return x > 0.0F; });
  }

  static std::vector<float> numbers(const std::string& text) {
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());  // a program's own locale may read 2.94 as 2
    std::vector<float> found;
    for (float x; stream >> x;) found.push_back(x);
    return found;
  }

  static std::vector<std::string> names(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> found;
    for (std::string line; std::getline(stream, line);) found.push_back(line);
    return found;
  }

  Network network_;
  std::vector<std::string> joint_names_;
  std::vector<float> torque_limits_, action_scale_, before_;
  double control_hz_ = 0.0;
  std::size_t dim_ = 0;
  bool fresh_ = true;
};

}  // namespace argos
