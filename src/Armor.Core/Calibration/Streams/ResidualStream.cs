using static TorchSharp.torch;

namespace Armor.Core.Calibration.Streams;

/// <summary>
/// The residual stream of all batches on its way through the layers. What has been moved since the last layer boundary lies in one
/// <see cref="BatchStore"/>, what has not in that of the boundary; at the very first boundary, tokens are embedded when they are asked for.
/// </summary>
internal sealed class ResidualStream : IDisposable
{
    private readonly IReadOnlyList<long[]> shapes;
    private readonly long memoryBytes;
    private readonly Func<int, string>? pathOfLayer;
    private readonly Func<int, Tensor> embed;
    private BatchStore moved;
    private BatchStore? boundary;
    private ActivationFile? boundaryFile;

    /// <summary>Starts before the first layer.</summary>
    /// <param name="shapes">The shape of each batch.</param>
    /// <param name="memoryBytes">What may be kept in memory.</param>
    /// <param name="pathOfLayer">The file of the stream at the boundary before a layer; null where everything stays in memory.</param>
    /// <param name="embed">The embedded tokens of a batch, in the caller's dispose scope.</param>
    public ResidualStream(IReadOnlyList<long[]> shapes, long memoryBytes, Func<int, string>? pathOfLayer, Func<int, Tensor> embed)
    {
        this.shapes = shapes;
        this.memoryBytes = pathOfLayer is null ? long.MaxValue : memoryBytes;
        this.pathOfLayer = pathOfLayer;
        this.embed = embed;
        moved = NewStore(1);
    }

    /// <summary>Goes on from a boundary that an earlier walk has left; false, and nothing changed, where its file is not whole.</summary>
    public bool TryResume(int layer, IReadOnlyList<string> hashes, CancellationToken cancellationToken)
    {
        string path = pathOfLayer!(layer);
        if (!File.Exists(path))
        {
            return false;
        }

        var file = new ActivationFile(path, shapes, FileMode.Open);
        if (!file.Verify(hashes, cancellationToken))
        {
            file.Dispose();
            return false;
        }

        boundaryFile = file;
        moved = NewStore(layer + 1);
        return true;
    }

    /// <summary>Back to before the first layer.</summary>
    public void Restart()
    {
        boundaryFile?.Dispose();
        boundaryFile = null;
        moved = NewStore(1);
    }

    /// <summary>A batch as it is now, in the caller's dispose scope; not to be changed.</summary>
    public Tensor Load(int batch) => moved.Load(batch) ?? boundary?.Load(batch) ?? boundaryFile?.Read(batch) ?? embed(batch);

    /// <summary>Puts a batch in the place of what it was.</summary>
    public void Store(int batch, Tensor values)
    {
        moved.Store(batch, values);
        boundary?.Release(batch);
    }

    /// <summary>Brings the whole stream to disk at the boundary before a layer.</summary>
    /// <returns>The hashes to resume with.</returns>
    public IReadOnlyList<string> Complete() => moved.Complete().Hashes;

    /// <summary>Leaves the last boundary behind: what has been moved since is the new one.</summary>
    /// <param name="layer">The layer before which the new boundary lies.</param>
    public void Pass(int layer)
    {
        boundary?.Clear();
        boundaryFile?.Delete();
        boundaryFile = null;
        boundary = moved;
        moved = NewStore(layer + 1);
    }

    /// <summary>Frees the memory and closes the files; they stay.</summary>
    public void Dispose()
    {
        moved.Dispose();
        boundary?.Dispose();
        boundaryFile?.Dispose();
    }

    private BatchStore NewStore(int layer) => new(shapes, memoryBytes, pathOfLayer?.Invoke(layer));
}
