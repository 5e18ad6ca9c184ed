using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace Armor.TinyModel.Training;

/// <summary>Adam with decoupled weight decay (arXiv 1711.05101), whose moments can be saved. Norms and biases do not decay.</summary>
internal sealed class AdamW : IDisposable
{
    private const double Epsilon = 1e-8;
    private readonly IReadOnlyDictionary<string, Parameter> _parameters;
    private readonly TrainingOptions _options;

    public AdamW(IReadOnlyDictionary<string, Parameter> parameters, TrainingOptions options)
    {
        _parameters = parameters;
        _options = options;
        FirstMoments = parameters.ToDictionary(entry => entry.Key, entry => zeros(entry.Value.shape).DetachFromDisposeScope());
        SecondMoments = parameters.ToDictionary(entry => entry.Key, entry => zeros(entry.Value.shape).DetachFromDisposeScope());
    }

    public IReadOnlyDictionary<string, Tensor> FirstMoments { get; }

    public IReadOnlyDictionary<string, Tensor> SecondMoments { get; }

    /// <summary>Updates every parameter from its gradient and clears the gradients.</summary>
    /// <param name="step">Number of steps made before.</param>
    /// <param name="rate">The learning rate.</param>
    /// <returns>The gradient's length before clipping; where it is not finite, nothing is changed.</returns>
    public double Step(int step, double rate)
    {
        using var scope = NewDisposeScope();
        using var withoutGradients = no_grad();
        var squares = _parameters.Values.Select(parameter => parameter.grad!.square().sum()).ToArray();
        var length = stack(squares).sum().sqrt().item<float>();
        if (float.IsFinite(length))
        {
            var scale = Math.Min(1, _options.MaximumGradient / (length + 1e-6));
            foreach (var (name, parameter) in _parameters)
            {
                Update(name, parameter, scale, step + 1, rate);
            }
        }

        foreach (var parameter in _parameters.Values)
        {
            parameter.grad!.zero_();
        }

        return length;
    }

    public void Dispose()
    {
        foreach (var tensor in FirstMoments.Values.Concat(SecondMoments.Values))
        {
            tensor.Dispose();
        }
    }

    private void Update(string name, Parameter parameter, double scale, int count, double rate)
    {
        using var scope = NewDisposeScope();
        var gradient = parameter.grad!.mul_(scale);
        var (first, second) = (FirstMoments[name], SecondMoments[name]);
        first.mul_(_options.Beta1).add_(gradient, alpha: 1 - _options.Beta1);
        second.mul_(_options.Beta2).addcmul_(gradient, gradient, 1 - _options.Beta2);
        if (parameter.shape.Length > 1)
        {
            parameter.mul_(1 - (rate * _options.WeightDecay));
        }

        var deviation = second.sqrt().div_(Math.Sqrt(1 - Math.Pow(_options.Beta2, count))).add_(Epsilon);
        parameter.addcdiv_(first, deviation, -rate / (1 - Math.Pow(_options.Beta1, count)));
    }
}
