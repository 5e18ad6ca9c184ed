namespace Armor.Benchmarks.Models;

/// <summary>What was measured, as Markdown.</summary>
/// <param name="rounds">Groups of rounds, each with what tells it from the others.</param>
/// <param name="memory">By name, what processes of their own took that loaded such a model.</param>
/// <param name="promptTokens">Length of the prompt.</param>
internal sealed class ModelReport(
    IReadOnlyList<(string With, ModelRounds Rounds)> rounds, IReadOnlyDictionary<string, ModelMemory> memory, int promptTokens)
{
    private const double MostMemory = 1.2;

    /// <summary>A row for each model and each group of rounds that it took part in.</summary>
    public void Rows(params string[] names)
    {
        Console.WriteLine(
            $"| model | rounds with | GB a token | tokens/s, best | median | of the bandwidth beside it | head's share of a token | first token of {promptTokens}, s, best | median |");
        Console.WriteLine("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        foreach (string name in names)
        {
            foreach ((string with, ModelRounds own) in rounds.Where(group => group.Rounds.Names.Contains(name)))
            {
                Row(name, own, with);
            }
        }
    }

    /// <summary>What processes of their own took.</summary>
    public void Memory()
    {
        Console.WriteLine("| a process of its own | files, GB | loaded in, s | resident before, MB | peak until loaded, GB | peak in all | over the files | allocated a token, bytes, greedy | top-p 0.95 |");
        Console.WriteLine("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
        foreach ((string name, ModelMemory own) in memory)
        {
            Console.WriteLine(
                $"| {name} | {own.FileBytes / 1e9:f3} | {own.Seconds:f1} | {own.StartBytes / 1e6:f0} | {own.LoadedPeak / 1e9:f3} | {own.Peak / 1e9:f3} | " +
                $"{own.Peak / (double)own.FileBytes:f3} | {own.AllocatedPerToken:f1} | {own.AllocatedPerDraw:f1} |");
        }
    }

    /// <summary>A row for each aim: how much faster one model is to be than another, then memory and allocations.</summary>
    /// <param name="faster">One, another, and how many times as many tokens a second.</param>
    /// <param name="prompt">One, and another whose first token is not to come sooner.</param>
    public void Aims(IReadOnlyList<(string One, string Other, double Wanted)> faster, (string One, string Other) prompt)
    {
        Console.WriteLine("| aim | wanted | bytes allow | median of the rounds | | by the shortest times |");
        Console.WriteLine("| --- | ---: | ---: | ---: | --- | ---: |");
        foreach ((string one, string other, double wanted) in faster)
        {
            ModelRounds own = With(one, other);
            double ratio = own.TokenRatio(other, one);
            Aim(
                $"{one}: tokens/s against {other}", $"{wanted:f1} ×", $"{own.Bytes(other) / (double)own.Bytes(one):f2} ×", $"{ratio:f2} ×", ratio >= wanted,
                $"{own.Token(other).Least / own.Token(one).Least:f2} ×");
        }

        ModelRounds first = With(prompt.One, prompt.Other);
        double sooner = first.PromptRatio(prompt.Other, prompt.One);
        Aim(
            $"{prompt.One}: first token of {promptTokens} against {prompt.Other}", "1 ×", string.Empty, $"{sooner:f2} ×", sooner >= 1,
            $"{first.Prompt(prompt.Other).Least / first.Prompt(prompt.One).Least:f2} ×");
        foreach ((string name, ModelMemory own) in memory)
        {
            double over = own.Peak / (double)own.FileBytes;
            Aim($"{name}: peak memory over the files", $"{MostMemory:f1} ×", string.Empty, $"{over:f3} ×", over <= MostMemory, string.Empty);
            Aim(
                $"{name}: bytes allocated a token", "0", string.Empty, $"{own.AllocatedPerToken:f1}", own.AllocatedPerToken == 0 && own.AllocatedPerDraw == 0,
                string.Empty);
        }
    }

    /// <summary>The rounds in which both took part.</summary>
    private ModelRounds With(string one, string other) =>
        rounds.First(group => group.Rounds.Names.Contains(one) && group.Rounds.Names.Contains(other)).Rounds;

    private static void Row(string name, ModelRounds rounds, string with)
    {
        (double least, double median) = rounds.Token(name);
        (double leastPrompt, double medianPrompt) = rounds.Prompt(name);
        double share = rounds.HeadShare(name);
        Console.WriteLine(
            $"| {name} | {with} | {rounds.Bytes(name) / 1e9:f2} | {1 / least:f2} | {1 / median:f2} | {rounds.FractionOfBandwidth(name):p0} | " +
            $"{(double.IsNaN(share) ? string.Empty : $"{share:p0}")} | {leastPrompt:f2} | {medianPrompt:f2} |");
    }

    private static void Aim(string aim, string wanted, string allowed, string measured, bool isReached, string shortest) =>
        Console.WriteLine($"| {aim} | {wanted} | {allowed} | {measured} | {(isReached ? "reached" : "missed")} | {shortest} |");
}
