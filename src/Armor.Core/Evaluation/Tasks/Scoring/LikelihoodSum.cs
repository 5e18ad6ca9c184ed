using System.Numerics;

namespace Armor.Core.Evaluation.Tasks.Scoring;

/// <summary>Adds up the log-likelihoods of tokens from rows of logits.</summary>
internal struct LikelihoodSum(int vocabulary)
{
    private double sum;
    private bool isGreedy = true;

    /// <summary>What has been added up.</summary>
    public readonly ContinuationScore Score => new(sum, isGreedy);

    /// <summary>Adds log softmax(<paramref name="logits"/>)[<paramref name="token"/>].</summary>
    public void Add(ReadOnlySpan<float> logits, int token)
    {
        float highest = float.NegativeInfinity;
        int best = 0;
        for (int i = 0; i < vocabulary; i++)
        {
            // The first of equals; a NaN is carried on to where it is refused.
            if (logits[i] > highest || float.IsNaN(logits[i]))
            {
                highest = logits[i];
                best = i;
            }
        }

        double total = 0;
        int place = 0;
        if (Vector.IsHardwareAccelerated)
        {
            var most = new Vector<float>(highest);
            Vector<float> part = Vector<float>.Zero;
            for (int steps = 0; place <= vocabulary - Vector<float>.Count; place += Vector<float>.Count)
            {
                part += Vector.Exp(new Vector<float>(logits[place..]) - most);
                if (++steps == 256)
                {
                    total += Vector.Sum(part);
                    (part, steps) = (Vector<float>.Zero, 0);
                }
            }

            total += Vector.Sum(part);
        }

        for (; place < vocabulary; place++)
        {
            total += MathF.Exp(logits[place] - highest);
        }

        sum += (double)logits[token] - highest - Math.Log(total);
        isGreedy &= best == token;
    }
}
