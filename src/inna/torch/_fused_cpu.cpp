// INNA and INNAprop on a CPU in one pass over memory. The loop in _inna.py is the truth, this is the speed.

#include <ATen/EmptyTensor.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>
#include <vector>

namespace {

struct Coefficients {
  double keep, lr, push, damp, gain;  // of the two lines
  double scale, coupled;              // v = scale grad + coupled theta
  double sigma, correction, eps;      // INNAprop: v / (sqrt(s / correction) + eps)
};

template <typename real>
struct Inna {
  real keep, lr, push, damp, gain;

  explicit Inna(const Coefficients& c) : keep(c.keep), lr(c.lr), push(c.push), damp(c.damp), gain(c.gain) {}
  real next_theta(real theta, real u, real v) const { return keep * theta - lr * u - push * v; }
  real next_u(real u, real v) const { return damp * u + gain * v; }
};

struct Task {
  void (*run)(const Task&, int64_t begin, int64_t end);
  void *theta, *u, *s, *compensation;
  const void* grad;
  Coefficients c;
  uint32_t count;
  int64_t size;
  uint8_t *u_exponents, *s_exponents;  // of moments in 8 bits
};

enum class Rounding { nearest, kahan, stochastic };

uint32_t mixed(uint32_t x) {  // _rounding.py says what these two do
  x = (x ^ (x >> 16)) * 0x21F0AAADu;
  x = (x ^ (x >> 15)) * 0x735A2D97u;
  return x ^ (x >> 15);
}

uint32_t seed(uint32_t count, uint32_t stream) { return mixed((count + 1) ^ (stream << 30)); }

template <typename param_t>
param_t rounded(float exact, uint32_t noise) {
  constexpr uint32_t last = std::is_same_v<param_t, at::BFloat16> ? 1u << 16 : 1u << 13, infinite = 0x7F800000u;
  const uint32_t bits = std::bit_cast<uint32_t>(exact), up = (bits & infinite) == infinite ? 0 : noise & (last - 1);
  return static_cast<param_t>(std::bit_cast<float>((bits & infinite) == infinite ? bits : (bits + up) & ~(last - 1)));
}

template <typename param_t, typename state_t, bool adaptive, Rounding rounding>
void update(const Task& task, int64_t begin, int64_t end) {
  using real = std::conditional_t<std::is_same_v<param_t, double>, double, float>;
  auto* __restrict theta_ = static_cast<param_t*>(task.theta);
  auto* __restrict grad_ = static_cast<const param_t*>(task.grad);
  auto* __restrict u_ = static_cast<state_t*>(task.u);
  auto* __restrict s_ = static_cast<state_t*>(task.s);
  auto* __restrict compensation_ = static_cast<param_t*>(task.compensation);
  const Coefficients& c = task.c;
  const Inna<real> inna(c);
  const real scale = c.scale, coupled = c.coupled, sigma = c.sigma, fresh = 1 - c.sigma, eps = c.eps, lost = c.keep - 1;
  const real per_correction = 1 / c.correction;
  const uint32_t seed_0 = seed(task.count, 0);

  for (int64_t i = begin; i < end; ++i) {
    const real theta = theta_[i], u = u_[i];
    real v = scale * static_cast<real>(grad_[i]) + coupled * theta;
    if constexpr (adaptive) {
      const real s = sigma * static_cast<real>(s_[i]) + fresh * v * v;
      s_[i] = static_cast<state_t>(s);
      v /= std::sqrt(s * per_correction) + eps;
    }
    if constexpr (rounding == Rounding::kahan) {
      const real move = inna.next_theta(compensation_[i], u, v) + lost * theta;
      theta_[i] = static_cast<param_t>(theta + move);
      compensation_[i] = static_cast<param_t>(move + (theta - static_cast<real>(theta_[i])));
    } else if constexpr (rounding == Rounding::stochastic) {
      const uint32_t noise = mixed(static_cast<uint32_t>(i) ^ seed_0);
      theta_[i] = rounded<param_t>(inna.next_theta(theta, u, v), noise);
    } else {
      theta_[i] = static_cast<param_t>(inna.next_theta(theta, u, v));
    }
    u_[i] = static_cast<state_t>(inna.next_u(u, v));
  }
}

// Moments in 8 bits: _eight_bit.py says what a code means, and why it is rounded so.
constexpr int64_t block = 64;
using Whole = std::integral_constant<int64_t, block>;  // the size of all blocks but the last

float power_of_two(uint32_t exponent) { return std::bit_cast<float>(exponent << 23); }

constexpr int32_t one = 0x3F800000;  // the bits of 1.0

template <typename code_t>  // int8_t of u, uint8_t of s
struct Code {
  static constexpr bool has_sign = std::is_signed_v<code_t>;
  static constexpr int lost = has_sign ? 18 : 19;
  static constexpr int32_t last = has_sign ? 127 : 255;
  static constexpr float top = has_sign ? 14.7501f : 63487.5f;

  static float decoded(int32_t code, float unit) {
    const float size = std::bit_cast<float>(((has_sign ? std::abs(code) : code) << lost) + one) * unit - unit;
    return has_sign ? std::bit_cast<float>(std::bit_cast<int32_t>(size) | (code & INT32_MIN)) : size;
  }

  // Keeps the exponent of a block, or moves it to what the values need; returns 1 / unit.
  static float fit(uint8_t& exponent, const float* __restrict exact, auto size) {
    int32_t largest = 0;  // as an integer it orders as it does as a number, and NaN above all
    for (int64_t j = 0; j < size; ++j) largest = std::max(largest, std::bit_cast<int32_t>(std::abs(exact[j])));
    const uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>(largest) * (1 / top));
    const uint32_t fits = std::min<uint32_t>((bits >> 23 & 255) + 1, 255);
    if (exponent < fits || exponent > fits + 1) exponent = static_cast<uint8_t>(fits);
    return power_of_two(254u - exponent);
  }

  static void encode(code_t* __restrict codes, float inverse, const float* __restrict exact,
                     const uint32_t* __restrict random, auto size) {
    for (int64_t j = 0; j < size; ++j) {
      const float x = std::abs(exact[j]) * inverse;
      const uint32_t up = has_sign ? random[j] >> (32 - lost) : random[j] & ((1u << lost) - 1);
      int32_t code = std::min<int32_t>((std::bit_cast<int32_t>(1 + x) - one + static_cast<int32_t>(up)) >> lost, last);
      if constexpr (has_sign) code = exact[j] < 0 ? -code : code;
      else code = std::max<int32_t>(code, x > 0);
      codes[j] = static_cast<code_t>(inverse > 0 ? code : 0);  // a block that is not finite holds no numbers
    }
  }
};

template <typename param_t, bool adaptive, Rounding rounding>
void update_coded(const Task& task, int64_t begin, int64_t end) {  // the blocks that begin there
  const Coefficients& c = task.c;
  const Inna<float> inna(c);
  const float scale = c.scale, coupled = c.coupled, sigma = c.sigma, fresh = 1 - c.sigma, eps = c.eps;
  const float per_correction = 1 / c.correction;
  const uint32_t seed_0 = seed(task.count, 0), seed_1 = seed(task.count, 1);

  const auto update_block = [&](int64_t first, auto size) {
    auto* theta_ = static_cast<param_t*>(task.theta) + first;
    auto* grad_ = static_cast<const param_t*>(task.grad) + first;
    auto* u_ = static_cast<int8_t*>(task.u) + first;
    auto* s_ = adaptive ? static_cast<uint8_t*>(task.s) + first : nullptr;
    uint8_t *u_exponent = task.u_exponents + first / block, *s_exponent = adaptive ? task.s_exponents + first / block : nullptr;
    const float u_unit = power_of_two(*u_exponent), s_unit = adaptive ? power_of_two(*s_exponent) : 0;
    alignas(64) float next_u[block], next_s[block];
    alignas(64) uint32_t random[block];
#pragma GCC ivdep  // they do not overlap, and to check that would take longer than the block
    for (int64_t j = 0; j < size; ++j) {
      const float theta = theta_[j], u = Code<int8_t>::decoded(u_[j], u_unit);
      float v = scale * static_cast<float>(grad_[j]) + coupled * theta;
      if constexpr (adaptive) {
        const float s = sigma * Code<uint8_t>::decoded(s_[j], s_unit) + fresh * v * v;
        next_s[j] = s;
        v /= std::sqrt(s * per_correction) + eps;
      }
      const float moved = inna.next_theta(theta, u, v);
      if constexpr (rounding == Rounding::stochastic)
        theta_[j] = rounded<param_t>(moved, mixed(static_cast<uint32_t>(first + j) ^ seed_0));
      else
        theta_[j] = static_cast<param_t>(moved);
      next_u[j] = inna.next_u(u, v);
      random[j] = mixed(static_cast<uint32_t>(first + j) ^ seed_1);
    }
    const float u_inverse = Code<int8_t>::fit(*u_exponent, next_u, size);
    if constexpr (adaptive) Code<uint8_t>::encode(s_, Code<uint8_t>::fit(*s_exponent, next_s, size), next_s, random, size);
    Code<int8_t>::encode(u_, u_inverse, next_u, random, size);
  };

  begin = (begin + block - 1) / block * block;
  for (; begin < end && begin + block <= task.size; begin += block) update_block(begin, Whole());
  if (begin < end) update_block(begin, task.size - begin);
}

using Update = decltype(Task::run);

template <typename param_t, Rounding rounding = Rounding::nearest>
Update choose_coded(bool adaptive) {
  return adaptive ? update_coded<param_t, true, rounding> : update_coded<param_t, false, rounding>;
}

template <typename param_t>
Update choose_coded(bool adaptive, Rounding rounding) {
  TORCH_CHECK(rounding != Rounding::kahan, "a state in 8 bits goes without kahan_sum: use stochastic_rounding=True");
  return rounding == Rounding::stochastic ? choose_coded<param_t, Rounding::stochastic>(adaptive)
                                          : choose_coded<param_t>(adaptive);
}

template <typename param_t, typename state_t, Rounding rounding>
Update choose(bool adaptive) {
  return adaptive ? update<param_t, state_t, true, rounding> : update<param_t, state_t, false, rounding>;
}

template <typename param_t, typename state_t = param_t>
Update choose(bool adaptive, Rounding rounding) {
  if (rounding == Rounding::kahan) return choose<param_t, state_t, Rounding::kahan>(adaptive);
  if constexpr (sizeof(param_t) == 2)
    if (rounding == Rounding::stochastic) return choose<param_t, state_t, Rounding::stochastic>(adaptive);
  return choose<param_t, state_t, Rounding::nearest>(adaptive);
}

Update choose(at::ScalarType param, at::ScalarType state, bool adaptive, Rounding rounding) {
  using at::ScalarType;
  if (state == ScalarType::Char) {
    if (param == ScalarType::Float) return choose_coded<float>(adaptive);
    if (param == ScalarType::BFloat16) return choose_coded<at::BFloat16>(adaptive, rounding);
    if (param == ScalarType::Half) return choose_coded<at::Half>(adaptive, rounding);
    TORCH_CHECK(false, "fused=True with a state in 8 bits takes float32, bfloat16 or float16 parameters, got ", param,
                ": leave fused out");
  }
  if (param == ScalarType::Float && state == param) return choose<float>(adaptive, rounding);
  if (param == ScalarType::Double && state == param) return choose<double>(adaptive, rounding);
  if (param == ScalarType::BFloat16 && state == param) return choose<at::BFloat16>(adaptive, rounding);
  if (param == ScalarType::Half && state == param) return choose<at::Half>(adaptive, rounding);
  if (param == ScalarType::BFloat16 && state == ScalarType::Float) return choose<at::BFloat16, float>(adaptive, rounding);
  if (param == ScalarType::Half && state == ScalarType::Float) return choose<at::Half, float>(adaptive, rounding);
  TORCH_CHECK(false, "fused=True takes float32, float64, bfloat16 or float16 parameters with a state of their own "
              "dtype, or of float32 for 16 bits; got ", param, " with a state of ", state, ": use foreach=True");
}

// The kernel trusts a shape and a dtype with the memory behind a pointer: these refuse what does not fit.
void check_read(const at::Tensor& tensor, const char* name, const at::Tensor& param) {
  TORCH_CHECK(tensor.layout() == at::kStrided && tensor.device() == param.device() &&
                  (tensor.is_cpu() || tensor.is_meta()),
              "fused=True on a CPU needs dense tensors there; got ", name, " with layout ", tensor.layout(), " on ",
              tensor.device(), ": move it, or use foreach=True");
  TORCH_CHECK(tensor.sizes() == param.sizes(), name, " of shape ", tensor.sizes(),
              " does not belong to a parameter of shape ", param.sizes(),
              ": load the state of this model, or start anew with optimizer.state.clear()");
  const size_t end = tensor.is_non_overlapping_and_dense()
                         ? (tensor.storage_offset() + tensor.numel()) * tensor.itemsize()
                         : at::detail::computeStorageNbytes(tensor.sizes(), tensor.strides(), tensor.itemsize(),
                                                            tensor.storage_offset());
  TORCH_CHECK(tensor.unsafeGetTensorImpl()->unsafe_storage().nbytes() >= end,
              "the memory of ", name, " of shape ", tensor.sizes(), " is gone: its storage has been resized");
}

void check_written(const at::Tensor& tensor, const char* name, const at::Tensor& param, at::ScalarType dtype) {
  check_read(tensor, name, param);
  TORCH_CHECK(tensor.scalar_type() == dtype, name, " must be ", dtype, ", got ", tensor.scalar_type(),
              ": convert it, or start anew with optimizer.state.clear()");
  at::assert_no_internal_overlap(tensor);
}

// A block has its exponent where it lies, so codes must lie as the kernel walks through their parameter.
void check_exponents(const at::Tensor& exponents, const char* name, const at::Tensor& param) {
  check_written(exponents, name, exponents, at::ScalarType::Byte);
  TORCH_CHECK(exponents.device() == param.device() && exponents.is_contiguous() && exponents.dim() == 1 &&
                  exponents.numel() == (param.numel() + block - 1) / block,
              name, " of shape ", exponents.sizes(), " does not belong to a parameter of shape ", param.sizes(),
              ": load the state of this model, or start anew with optimizer.state.clear()");
}

bool walk_alike(const at::Tensor& a, const at::Tensor& b) {
  if (a.strides() == b.strides()) return true;
  for (int64_t dim = 0; dim < a.dim(); ++dim)
    if (a.stride(dim) != b.stride(dim) && a.size(dim) != 1) return false;  // one value may have any stride
  return true;
}

void check_order(const at::Tensor& codes, const char* name, const at::Tensor& param) {
  TORCH_CHECK(param.is_non_overlapping_and_dense() ? walk_alike(codes, param) : codes.is_contiguous(), name,
              " with strides ", codes.strides(), " lies in another order than its parameter with strides ",
              param.strides(), ": load the state of this model, or start anew with optimizer.state.clear()");
}

uint8_t* exponents_of(at::TensorList exponents, size_t i) {
  return exponents.empty() || exponents[i].numel() == 0 ? nullptr : exponents[i].data_ptr<uint8_t>();
}

// The kernel walks through memory, so all tensors of a parameter need one dense layout; others work on copies.
class Layouts {
 public:
  const void* of_grad(const at::Tensor& grad, const at::Tensor& param) {
    if (grad.scalar_type() == param.scalar_type()) return of(grad, param, false);
    return of(casts_.emplace_back(grad.to(param.scalar_type())), param, false);
  }
  void* of(const at::Tensor& tensor, const at::Tensor& param, bool written = true) {
    if (param.is_non_overlapping_and_dense() && walk_alike(tensor, param)) return tensor.data_ptr();
    at::Tensor copy = param.is_non_overlapping_and_dense()
                          ? tensor.new_empty_strided(param.sizes(), param.strides()).copy_(tensor)
                          : tensor.clone(at::MemoryFormat::Contiguous);
    copies_.push_back({tensor, copy, written});
    return copy.data_ptr();
  }
  void write_back() {
    for (auto& c : copies_)
      if (c.written) c.original.copy_(c.copy);
  }

 private:
  struct Copy {
    at::Tensor original, copy;
    bool written;
  };
  std::vector<Copy> copies_;
  std::vector<at::Tensor> casts_;
};

void step_(at::TensorList params, at::TensorList grads, at::TensorList momentum_buffers, at::TensorList exp_avg_sqs,
           at::TensorList compensations, at::TensorList u_exponents, at::TensorList s_exponents,
           at::TensorList steps, double lr, double alpha, double beta, double speed,
           double decay, double coupled, double sigma, double eps, double scale, bool stochastic) {
  const bool adaptive = !exp_avg_sqs.empty(), kahan = !compensations.empty();
  const Rounding rounding = kahan ? Rounding::kahan : stochastic ? Rounding::stochastic : Rounding::nearest;
  const size_t number = params.size();
  TORCH_CHECK(grads.size() == number && momentum_buffers.size() == number && steps.size() == number &&
                  (exp_avg_sqs.size() == number || !adaptive) && (compensations.size() == number || !kahan) &&
                  (u_exponents.size() == number || u_exponents.empty()) &&
                  (s_exponents.size() == number || s_exponents.empty() || !adaptive),
              "the lists of tensors differ in length");
  std::vector<Update> updates;
  updates.reserve(number);
  for (size_t i = 0; i < number; ++i) {  // what can be refused is refused before anything has changed
    const at::Tensor& param = params[i];
    const at::ScalarType dtype = param.scalar_type(), state = momentum_buffers[i].scalar_type();
    updates.push_back(choose(dtype, state, adaptive, rounding));
    check_written(param, "a parameter", param, dtype);
    check_written(momentum_buffers[i], "momentum_buffer", param, state);
    if (const bool coded = state == at::ScalarType::Char; coded || adaptive) {
      const at::ScalarType square = coded ? at::ScalarType::Byte : state;
      if (adaptive) check_written(exp_avg_sqs[i], "exp_avg_sq", param, square);
      if (coded) {
        TORCH_CHECK(!u_exponents.empty() && (!adaptive || !s_exponents.empty()), "codes need exponents");
        check_exponents(u_exponents[i], "momentum_buffer_exponent", param);
        if (adaptive) check_exponents(s_exponents[i], "exp_avg_sq_exponent", param);
        check_order(momentum_buffers[i], "momentum_buffer_8bit", param);
        if (adaptive) check_order(exp_avg_sqs[i], "exp_avg_sq_8bit", param);
      }
    }
    if (kahan) check_written(compensations[i], "compensation", param, dtype);
    TORCH_CHECK(!grads[i].is_sparse(), adaptive ? "INNAprop" : "INNA",
                " does not support sparse gradients: build the layer with sparse=False");
    check_read(grads[i], "a gradient", param);
    TORCH_CHECK(at::isFloatingType(grads[i].scalar_type()), "a gradient must be real, got ", grads[i].scalar_type());
    check_written(steps[i], "step", steps[i], at::ScalarType::Float);
    TORCH_CHECK(steps[i].numel() == 1, "step must be one number, got shape ", steps[i].sizes());
    TORCH_CHECK(steps[i].device() == param.device(), "step must lie on ", param.device(), ", got ", steps[i].device());
  }
  for (const auto& tensors : {params, momentum_buffers, exp_avg_sqs, compensations, u_exponents, s_exponents, steps})
    for (const at::Tensor& tensor : tensors) tensor.unsafeGetTensorImpl()->bump_version();  // for autograd
  if (number == 0 || params[0].is_meta()) return;

  Layouts layouts;
  std::vector<Task> tasks;
  std::vector<int64_t> ends;  // of each parameter in the numbering of all values
  tasks.reserve(number);
  ends.reserve(number);
  int64_t total = 0;
  for (size_t i = 0; i < number; ++i) {
    const at::Tensor& param = params[i];
    const double count = *static_cast<const float*>(steps[i].const_data_ptr());
    const double start = count == 0 ? speed - beta : 0.0, damp = 1 - alpha * lr;  // u_0 = (s - beta) v_0
    tasks.push_back({updates[i],
                     layouts.of(param, param),
                     layouts.of(momentum_buffers[i], param),
                     adaptive ? layouts.of(exp_avg_sqs[i], param) : nullptr,
                     kahan ? layouts.of(compensations[i], param) : nullptr,
                     layouts.of_grad(grads[i], param),
                     {1 - lr * decay, lr, lr * (beta + start), damp, lr * (1 - alpha * beta) + damp * start, scale,
                      coupled, sigma, 1 - std::pow(sigma, count + 1), eps},
                     static_cast<uint32_t>(count),
                     param.numel(),
                     exponents_of(u_exponents, i),
                     exponents_of(s_exponents, i)});
    ends.push_back(total += param.numel());
  }
  for (const at::Tensor& step : steps) *static_cast<float*>(step.data_ptr()) += 1;
  // One parallel region for the whole list: small tensors share a thread, threads share large tensors.
  at::parallel_for(0, total, 16384, [&](int64_t begin, int64_t end) {
    for (size_t i = std::upper_bound(ends.begin(), ends.end(), begin) - ends.begin(); begin < end; ++i) {
      const int64_t first = ends[i] - params[i].numel(), last = std::min(end, ends[i]);
      tasks[i].run(tasks[i], begin - first, last - first);
      begin = last;
    }
  });
  layouts.write_back();
}

}  // namespace

TORCH_LIBRARY(inna, library) {
  library.def(
      "step_(Tensor(a!)[] params, Tensor[] grads, Tensor(b!)[] momentum_buffers, Tensor(c!)[] exp_avg_sqs, "
      "Tensor(d!)[] compensations, Tensor(e!)[] momentum_exponents, Tensor(f!)[] exp_avg_sq_exponents, "
      "Tensor(g!)[] steps, float lr, float alpha, float beta, float speed, float decay, "
      "float coupled, float sigma, float eps, float scale, "
      "bool stochastic) -> ()");
}

// For every backend: `step_` says which tensor lies elsewhere, and moves nothing for meta and fake tensors.
TORCH_LIBRARY_IMPL(inna, CompositeExplicitAutograd, library) { library.impl("step_", step_); }
