using Microsoft.ML.OnnxRuntime;

namespace Armor.Benchmarks.Kernels;

/// <summary>ONNX Runtime's MatMul by a constant, which it packs when a session is made: a session for each copy.</summary>
internal sealed class OnnxRuntimeContestant : Contestant
{
    private static readonly Lock Gate = new();

    private readonly int rows;
    private readonly int columns;
    private readonly InferenceSession[] sessions;
    private readonly RunOptions options = new();
    private float[] result = [];
    private OrtValue? input;
    private OrtValue? output;

    public OnnxRuntimeContestant(KernelCase weight, int threads)
    {
        (rows, columns) = (weight.Rows, weight.Columns);
        MakeEnvironment(threads);
        using var settings = new SessionOptions { InterOpNumThreads = 1, ExecutionMode = ExecutionMode.ORT_SEQUENTIAL };
        if (threads == 1)
        {
            settings.IntraOpNumThreads = 1;
        }
        else
        {
            // One pool for all sessions: pools of their own would spin against one another.
            settings.DisablePerSessionThreads();
        }

        byte[] model = OnnxMatMul.Write(weight.Dense, rows, columns);
        sessions = [.. Enumerable.Range(0, weight.Copies(Bytes)).Select(_ => new InferenceSession(model, settings))];
    }

    public override long Bytes => (long)rows * columns * sizeof(float);

    public override int Copies => sessions.Length;

    public override void Begin(float[] input, int batch)
    {
        this.input?.Dispose();
        output?.Dispose();
        result = new float[batch * rows];
        this.input = OrtValue.CreateTensorValueFromMemory(input, [batch, columns]);
        output = OrtValue.CreateTensorValueFromMemory(result, [batch, rows]);
    }

    public override void Multiply(int copy) =>
        sessions[copy].Run(options, [OnnxMatMul.Input], [input!], [OnnxMatMul.Output], [output!]);

    public override float[] Output() => result;

    public override void Dispose()
    {
        Array.ForEach(sessions, session => session.Dispose());
        options.Dispose();
        input?.Dispose();
        output?.Dispose();
    }

    // ONNX Runtime has one environment a process, and the number of its threads cannot change afterwards; sessions of one thread do not use them.
    private static void MakeEnvironment(int threads)
    {
        lock (Gate)
        {
            if (OrtEnv.IsCreated)
            {
                return;
            }

            using var threading = new OrtThreadingOptions
            {
                GlobalIntraOpNumThreads = Math.Max(threads, Environment.ProcessorCount),
                GlobalInterOpNumThreads = 1,
            };
            var creation = new EnvironmentCreationOptions { logId = "benchmarks", threadOptions = threading };
            OrtEnv.CreateInstanceWithOptions(ref creation);
        }
    }
}
