using Microsoft.ML.OnnxRuntime;

namespace Armor.Onnx.Running;

/// <summary>Sessions of ONNX Runtime, with errors that name the model.</summary>
internal static class Session
{
    private const string ExternalFolder = "session.model_external_initializers_file_folder_path";

    /// <summary>Loads a model from its file.</summary>
    public static InferenceSession Load(string path, OnnxRuntimeOptions options) => Named(path, () =>
    {
        using SessionOptions session = options.CreateSessionOptions();
        return new InferenceSession(path, session);
    });

    /// <summary>Loads a model from memory; its external data lies where it lay for the model that it was made from.</summary>
    /// <param name="path">That model, for messages and the folder.</param>
    /// <param name="model">The message.</param>
    /// <param name="options">How to run it.</param>
    public static InferenceSession Load(string path, byte[] model, OnnxRuntimeOptions options) => Named(path, () =>
    {
        using SessionOptions session = options.CreateSessionOptions();
        session.AddSessionConfigEntry(ExternalFolder, Path.GetDirectoryName(Path.GetFullPath(path))!);
        return new InferenceSession(model, session);
    });

    /// <summary>Does something with ONNX Runtime, whose errors do not say which model they are about.</summary>
    /// <exception cref="OnnxException">ONNX Runtime refused.</exception>
    public static T Named<T>(string path, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (OnnxRuntimeException exception)
        {
            throw new OnnxException(path, $"ONNX Runtime cannot run the model: {exception.Message.TrimEnd('.')}", innerException: exception);
        }
    }
}
