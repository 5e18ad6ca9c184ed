using System.Globalization;
using System.Text.RegularExpressions;

namespace Armor.Cuda.SelfTest;

/// <summary>What was wanted beside what was measured, in one run on one card.</summary>
internal sealed partial class Aims
{
    private readonly Dictionary<(int Rows, int Columns, int Batch, string Name), double> _microseconds = [];
    private readonly Dictionary<(int Rows, int Columns, int Batch, string Name), double> _ofBandwidth = [];
    private readonly Dictionary<(string Name, int Sequences), double> _tokens = [];
    private readonly Dictionary<string, double> _memory = [];
    private readonly Dictionary<(int Rows, int Columns, int Batch), double> _semiStructured = [];

    /// <summary>A product.</summary>
    /// <param name="shape">d_out and d_in.</param>
    /// <param name="batch">Inputs.</param>
    /// <param name="name">Of the contestant.</param>
    /// <param name="microseconds">The median of the rounds.</param>
    /// <param name="ofBandwidth">The rate at which the weight was read, against that of copying.</param>
    public void Add((int Rows, int Columns) shape, int batch, string name, double microseconds, double ofBandwidth)
    {
        _microseconds[(shape.Rows, shape.Columns, batch, name)] = microseconds;
        _ofBandwidth[(shape.Rows, shape.Columns, batch, name)] = ofBandwidth;
    }

    /// <summary>A whole model: tokens a second against dense, and the card's memory against dense where that is known.</summary>
    public void Add(string name, int sequences, double faster, double? memory)
    {
        _tokens[(name, sequences)] = faster;
        if (memory is { } own)
        {
            _memory[name] = own;
        }
    }

    /// <summary>Takes PyTorch's numbers out of its table.</summary>
    public void AddPyTorch(string table)
    {
        foreach (Match match in Row().Matches(table))
        {
            int Whole(int group) => int.Parse(match.Groups[group].ValueSpan, CultureInfo.InvariantCulture);
            _semiStructured[(Whole(1), Whole(2), Whole(3))] = double.Parse(match.Groups[4].ValueSpan, CultureInfo.InvariantCulture);
        }
    }

    /// <summary>Prints a line an aim: reached, missed, or what was not measured.</summary>
    public void Print(TextWriter report)
    {
        report.WriteLine("## Aims");
        report.WriteLine();
        report.WriteLine("| | wanted | measured | |");
        report.WriteLine("| --- | --- | --- | --- |");
        foreach (var (rows, columns, batch) in _microseconds.Keys.Select(key => (key.Rows, key.Columns, key.Batch)).Distinct())
        {
            var what = $"{rows}×{columns}, batch {batch}";
            foreach (var (name, least) in Wanted(batch))
            {
                if (batch < 128 || _microseconds.ContainsKey((rows, columns, batch, name)))
                {
                    Line(report, $"{what}: {name} against {Benchmarks.DenseBlas}", least, Ratio((rows, columns, batch, Benchmarks.DenseBlas), (rows, columns, batch, name)), "0.00×");
                }

                if (batch == 1)
                {
                    Line(report, $"{what}: {name}, of the copy bandwidth", 0.85, Known(_ofBandwidth, (rows, columns, batch, name)), "0 %");
                }
            }

            var own = Known(_microseconds, (rows, columns, batch, Benchmarks.Core));
            var theirs = Known(_semiStructured, (rows, columns, batch));
            Line(report, $"{what}: {Benchmarks.Core} against PyTorch's semi-structured tensors", 1, theirs / own, "0.00×");
        }

        foreach (var name in new[] { WholeModel.Factorised, WholeModel.Quantised })
        {
            Line(report, $"model, one sequence: tokens a second, {name} against dense", 1.4, Known(_tokens, (name, 1)), "0.00×");
            Line(report, $"model: memory, {name} against dense", 0.62, Known(_memory, name), "0.00×", isMost: true);
        }

        report.WriteLine();
    }

    private static (string Name, double Least)[] Wanted(int batch) => batch switch
    {
        1 => [(Benchmarks.Core, 1.6), (Benchmarks.Layer, 1.5)],
        16 => [(Benchmarks.Core, 1.4), (Benchmarks.Layer, 1.4)],
        >= 128 => [(Benchmarks.Layer, 1.25), (Benchmarks.LayerOfLibraries, 1.25)],
        _ => [],
    };

    private static double? Known<TKey>(Dictionary<TKey, double> values, TKey key)
        where TKey : notnull
        => values.TryGetValue(key, out var value) ? value : null;

    private static void Line(TextWriter report, string what, double wanted, double? measured, string format, bool isMost = false)
    {
        string Show(double value) => value.ToString(format, CultureInfo.InvariantCulture);
        var outcome = measured is not { } value ? "not measured" : (isMost ? value <= wanted : value >= wanted) ? "reached" : "missed";
        report.WriteLine($"| {what} | {(isMost ? "≤" : "≥")} {Show(wanted)} | {(measured is { } found ? Show(found) : "")} | {outcome} |");
    }

    [GeneratedRegex(@"\| (\d+)×(\d+) \| (\d+) \| [^|]* \| ([\d.]+) \| ")]
    private static partial Regex Row();

    private double? Ratio((int, int, int, string) dense, (int, int, int, string) own) => Known(_microseconds, dense) / Known(_microseconds, own);
}
