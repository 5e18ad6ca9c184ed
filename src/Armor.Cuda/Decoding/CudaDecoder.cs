using Armor.Cuda.Devices;
using Armor.Cuda.Kernels;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Generation;
using Armor.Runtime.Generation.Decoding;
using Armor.Runtime.Models;

namespace Armor.Cuda.Decoding;

/// <summary>
/// A model's forward pass on the card: tokens go over, and the likeliest tokens, or logits for the caller's own choice, come back. One pass at a time, like
/// every use of the backend.
/// </summary>
internal sealed class CudaDecoder : IDecoder
{
    private const int MostHeadRows = 64; // whose logits are on the card at once
    private const int LogitsOfBlock = 4096; // of logits.cu
    private const uint LogitThreads = 256;

    private readonly CudaBackend _backend;
    private readonly ModelConfiguration _configuration;
    private readonly CacheShape _cache;
    private readonly DeviceProduct _head;
    private readonly DeviceVectors _vectors = new();
    private readonly RecordedPasses _recorded = new();
    private readonly Activations _activations;
    private readonly PassInputs _inputs;
    private readonly LayerPass _layers;
    private readonly CudaDevice _device;
    private readonly DeviceMemory _chosen;
    private readonly PinnedMemory _chosenHere;
    private volatile bool _isDisposed; // written while nobody else has the card

    /// <param name="backend">Has prepared the weights.</param>
    /// <param name="run">The card, taken for the caller alone.</param>
    /// <param name="configuration">Supported.</param>
    /// <param name="weights">Outlive the decoder.</param>
    /// <param name="cacheType">Float32 or Float16.</param>
    public CudaDecoder(CudaBackend backend, DeviceRun run, ModelConfiguration configuration, DecoderWeights weights, TensorElementType cacheType)
    {
        _backend = backend;
        _configuration = configuration;
        _device = run.Device;
        _cache = new CacheShape(configuration, cacheType);
        _head = ((CudaWeight)weights.Head.Weight).Product;
        var owned = new Stack<IDisposable>();
        try
        {
            owned.Push(_activations = new Activations(_device, configuration));
            owned.Push(_inputs = new PassInputs(_device, configuration, MostRows));
            owned.Push(_chosen = _device.Allocate(MostHeadRows * sizeof(long) * 2));
            owned.Push(_chosenHere = _device.AllocatePinned(_chosen.Bytes));
            owned.Push(_vectors);
            owned.Push(_layers = new LayerPass(run, configuration, weights, _vectors, _activations, _inputs, _cache));
            _vectors.Upload(run);
        }
        catch
        {
            foreach (var one in owned)
            {
                one.Dispose();
            }

            throw;
        }
    }

    /// <inheritdoc/>
    public int MostRows => 512;

    /// <summary>How many passes have been recorded.</summary>
    internal int Recordings => _recorded.Count;

    /// <inheritdoc/>
    public IDecoderSequence CreateSequence()
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        return new CudaSequence(_device, _cache);
    }

    /// <inheritdoc/>
    public void CheckFits(long positions)
    {
        var bytes = CacheShape.PagesOf(positions) * (decimal)_cache.PageBytes;
        if (bytes > _device.MemoryBytes)
        {
            throw new InsufficientMemoryException(FormattableString.Invariant(
                $"The keys and values of {positions} positions take {bytes} bytes, and {_device.Name} has {_device.MemoryBytes}. Fewer tokens (MaxTokens), fewer sequences at once, or CacheType Float16 need less."));
        }
    }

    /// <inheritdoc/>
    public void Run(ReadOnlySpan<int> tokens, ReadOnlySpan<DecoderSegment> segments, DecoderOutput output, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var run = _backend.Enter();
        try
        {
            ObjectDisposedException.ThrowIf(_isDisposed, this);
            RunAlone(run, tokens, segments, output, cancellationToken);
        }
        catch
        {
            Settle(run);
            throw;
        }
        finally
        {
            _backend.Leave();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _backend.Free(() =>
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            _recorded.Dispose();
            _activations.Dispose();
            _inputs.Dispose();
            _layers.Dispose();
            _vectors.Dispose();
            _chosen.Dispose();
            _chosenHere.Dispose();
        }
    });

    /// <summary>Waits for what is still queued, whose memory the next pass would use; what went wrong is known already.</summary>
    private static void Settle(DeviceRun run)
    {
        try
        {
            run.Stream.Synchronize();
        }
        catch (CudaException)
        {
        }
    }

    private void RunAlone(
        DeviceRun run, ReadOnlySpan<int> tokens, ReadOnlySpan<DecoderSegment> segments, DecoderOutput output, CancellationToken cancellationToken)
    {
        var (rows, wanted) = (tokens.Length, output.RowCount(_configuration.VocabularySize));
        _activations.Reserve(rows, Math.Min(wanted, MostHeadRows));
        _inputs.Send(run, tokens, segments);
        var shape = new PassShape(rows, rows - wanted, segments.Length == 1);
        if (_layers.IsRecordable && rows == segments.Length && rows == wanted && rows <= RecordedPasses.MostRows)
        {
            _recorded.Queue(run, rows, _activations.Version, () =>
            {
                QueueLogits(run, _layers.Queue(run, shape, CancellationToken.None), 0, rows);
            });
            Fetch(run, 0, rows, output);
            return;
        }

        var input = _layers.Queue(run, shape, cancellationToken);
        for (var first = 0; first < wanted; first += MostHeadRows)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var count = Math.Min(MostHeadRows, wanted - first);
            QueueLogits(run, input, first, count);
            Fetch(run, first, count, output);
        }

        run.Stream.Synchronize();
    }

    /// <summary>Queues the head for some of the wanted rows, and the choice of the likeliest token of each.</summary>
    private void QueueLogits(DeviceRun run, ProductInput input, int first, int rows)
    {
        LayerPass.Queue(run, _head, input.From(first, _configuration.HiddenSize), rows, _activations.Logits.Address);
        var blocks = (_configuration.VocabularySize + LogitsOfBlock - 1) / LogitsOfBlock;
        run.Launch(KernelNames.Logits, (uint)blocks, (uint)rows, 1, LogitThreads, new LogitArguments
        {
            Logits = _activations.Logits.Address,
            Parts = run.Scratch(ScratchUse.LogitParts, (long)MostHeadRows * blocks * sizeof(long) * 2).Address,
            Tickets = run.Scratch(ScratchUse.LogitTickets, MostHeadRows * sizeof(uint)).Address,
            Chosen = _chosen.Address,
            Tokens = _configuration.VocabularySize,
            SoftCap = _configuration.LogitSoftCap ?? 0,
        });
    }

    /// <summary>Brings what is wanted back, and waits for it.</summary>
    private void Fetch(DeviceRun run, int first, int rows, DecoderOutput output)
    {
        if (output.Likeliest.Length == 0)
        {
            var count = rows * _configuration.VocabularySize;
            var staging = run.Staging((long)count * sizeof(float));
            _activations.Logits.CopyTo(staging, (long)count * sizeof(float), run.Stream);
            run.Stream.Synchronize();
            staging.AsSpan<float>(count).CopyTo(output.Logits.Slice(first * _configuration.VocabularySize, count));
            return;
        }

        _chosen.CopyTo(_chosenHere, rows * sizeof(long) * 2, run.Stream);
        run.Stream.Synchronize();
        var chosen = _chosenHere.AsSpan<Candidate>(rows);
        for (var row = 0; row < rows; row++)
        {
            if (chosen[row].Bad >= 0)
            {
                throw new ArithmeticException($"The logit of token {chosen[row].Bad} is not a finite number: the model's activations exceed the range of their types.");
            }

            output.Likeliest[first + row] = chosen[row].Token;
        }
    }
}
