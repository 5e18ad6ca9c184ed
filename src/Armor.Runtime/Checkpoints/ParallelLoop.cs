using System.Runtime.ExceptionServices;

namespace Armor.Runtime.Checkpoints;

/// <summary>Loops over pieces of data on several threads, whose exceptions come as they were thrown.</summary>
internal static class ParallelLoop
{
    /// <summary>Runs a body for each piece; with one thread, or for one piece, on the caller's.</summary>
    /// <exception cref="OperationCanceledException">The options' token is cancelled.</exception>
    public static void For(int pieces, ParallelOptions options, Action<int> body)
    {
        if (options.MaxDegreeOfParallelism == 1 || pieces == 1)
        {
            for (var piece = 0; piece < pieces; piece++)
            {
                options.CancellationToken.ThrowIfCancellationRequested();
                body(piece);
            }

            return;
        }

        try
        {
            Parallel.For(0, pieces, options, body);
        }
        catch (AggregateException exception)
        {
            ExceptionDispatchInfo.Throw(exception.InnerExceptions[0]);
        }
    }
}
