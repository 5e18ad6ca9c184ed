using Armor.Runtime.Models;
using static TorchSharp.torch;

namespace Armor.Core.Calibration.Channels;

/// <summary>
/// Puts the inner channels of every MLP and expert of a model in order as its layers are loaded, so that all who read the layer see one dense model. An order
/// is found once and remembered; it depends on the weights alone, so that a resumed run finds it again.
/// </summary>
/// <param name="configuration">The model.</param>
/// <param name="block">The channels of a block, see <see cref="ChannelOrder"/>.</param>
/// <param name="cancellationToken">Stops the search for an order.</param>
internal sealed class ChannelOrders(ModelConfiguration configuration, int block, CancellationToken cancellationToken)
{
    private readonly Dictionary<(int Layer, int? Expert), long[]> orders = [];

    /// <summary>Reorders a layer's weights.</summary>
    /// <param name="layer">The layer's index.</param>
    /// <param name="weights">The layer's tensors by their names within it; those that are replaced are disposed, new ones are of the caller's scope.</param>
    public void Apply(int layer, Dictionary<string, Tensor> weights)
    {
        if (configuration.MlpBias)
        {
            // Biases are copied from the source, in its order.
            return;
        }

        foreach (int? expert in ModelShapes.Linears(configuration).Where(linear => linear.Group == LinearGroup.MlpOutput).Select(linear => linear.Expert))
        {
            FeedForwardNames names = ModelShapes.FeedForward(configuration, expert);
            (string gate, string up, string down) = (names.Gate + ".weight", names.Up + ".weight", names.Down + ".weight");
            if (!orders.TryGetValue((layer, expert), out long[]? order))
            {
                order = ChannelOrder.Find(weights[gate], weights[up], weights[down], block, cancellationToken);
                orders.Add((layer, expert), order);
            }

            using Tensor index = tensor(order);
            Replace(gate, 0);
            Replace(up, 0);
            Replace(down, 1);

            void Replace(string name, long dimension)
            {
                using Tensor original = weights[name];
                weights[name] = original.index_select(dimension, index);
            }
        }
    }
}
