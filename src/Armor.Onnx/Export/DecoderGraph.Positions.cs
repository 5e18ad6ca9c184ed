using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Export;

/// <summary>What the attention mask and the lengths say: positions, rotations, and which keys a query sees. Each is made once for all layers of a kind.</summary>
internal sealed partial class DecoderGraph
{
    // Positions [batch, length]: how many ones of the mask lie before a token.
    private void AddPositions(string tokens, string mask)
    {
        AttributeProto[] Second() => [GraphBuilder.Attribute("start", 1), GraphBuilder.Attribute("end", 2)];
        _length = _builder.Node("Shape", [tokens], "length", Second());
        _totalLength = _builder.Node("Shape", [mask], "total_length", Second());
        string past = _builder.Node("Sub", [_totalLength, _length], "past_length");
        string counted = _builder.Node("CumSum", [mask, _builder.Integer(1)], "tokens_so_far");
        string before = _builder.Node("Max", [_builder.Node("Sub", [counted, _builder.Integer(1)], "tokens_before"), _builder.Integer(0)], "all_positions");
        _positions = _builder.Node("Slice", [before, past, _totalLength, _builder.Integers(1)], "positions");
    }

    // Cosines and sines of the tokens, [batch, 1, length, half]; from tables that were computed in double precision.
    private (string Cosine, string Sine) Rotation(bool isLocal)
    {
        if (!_rotations.TryGetValue(isLocal, out (string Cosine, string Sine) rotation))
        {
            Rotation table = _configuration.GetRotation(isLocal, isLong: false);
            string kind = isLocal ? "local_" : string.Empty;
            _rotations.Add(isLocal, rotation = (Of(Math.Cos, kind + "cosine"), Of(Math.Sin, kind + "sine")));

            string Of(Func<double, double> function, string name)
            {
                int half = table.Frequencies.Count;
                var values = new float[_configuration.ContextLength * half];
                for (int i = 0; i < values.Length; i++)
                {
                    values[i] = (float)(function(i / half * table.Frequencies[i % half]) * table.Magnitude);
                }

                string all = _builder.Floats(name + "_table", values, TensorElementType.Float32, _configuration.ContextLength, half);
                return _builder.Node("Unsqueeze", [_builder.Node("Gather", [all, _positions], name + "_rows"), _builder.Integers(1)], name);
            }
        }

        return rotation;
    }

    // What is added to scores [batch, key heads, group · length, total length]: 0 for keys that are seen.
    private string Mask(string mask, int? window)
    {
        if (_masks.TryGetValue(window ?? 0, out string? known))
        {
            return known;
        }

        string kind = window is null ? "mask" : FormattableString.Invariant($"mask_{window}");
        string total = Scalar(_totalLength, "_total");
        string first = _builder.Node("Sub", [total, Scalar(_length, "_length")], kind + "_first");
        string keys = Unsqueeze(Range(_builder.Integer(0), "_key_places"), "_keys", 0);
        string queries = Unsqueeze(Range(first, "_query_places"), "_queries", 1);
        string seen = _builder.Node("LessOrEqual", [keys, queries], kind + "_causal");
        if (window is { } size)
        {
            string nearest = _builder.Node("Sub", [queries, _builder.Integer(size)], kind + "_edge");
            seen = _builder.Node("And", [seen, _builder.Node("Greater", [keys, nearest], kind + "_near")], kind + "_window");
        }

        string present = _builder.Node("Cast", [mask], kind + "_present", GraphBuilder.Attribute("to", (int)DataType.Bool));
        string both = _builder.Node("And", [Unsqueeze(present, "_of_batch", 1, 2), seen], kind + "_seen");
        string added = _builder.Node("Where", [both, _builder.Scalar(kind + "_zero", 0), _builder.Scalar(kind + "_unseen", Unseen)], kind);
        int groups = _configuration.AttentionHeadCount / _configuration.KeyValueHeadCount;
        string repeated = groups == 1
            ? added
            : _builder.Node("Concat", [.. Enumerable.Repeat(added, groups)], kind + "_of_groups", GraphBuilder.Attribute("axis", 2));
        _masks.Add(window ?? 0, repeated);
        return repeated;

        string Scalar(string list, string suffix) => _builder.Node("Squeeze", [list, _builder.Integers(0)], kind + suffix);
        string Range(string start, string suffix) => _builder.Node("Range", [start, total, _builder.Integer(1)], kind + suffix);
        string Unsqueeze(string value, string suffix, params long[] axes) => _builder.Node("Unsqueeze", [value, _builder.Integers(axes)], kind + suffix);
    }
}
