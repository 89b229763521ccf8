// realtime_tools' buffer from a thread that may wait to one that may not, as docs/onnx_contract.md's controller uses it.
#pragma once

namespace realtime_tools {

template <class T>
class RealtimeBuffer {
 public:
  /// The newest; it stays as it is until the next call, and neither waits nor allocates.
  T* readFromRT();
  void writeFromNonRT(const T& data);
};

}  // namespace realtime_tools
