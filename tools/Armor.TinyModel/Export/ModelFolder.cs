using Armor.Core.Modules;
using Armor.Runtime.Checkpoints;
using Armor.TinyModel.Tokenizers;
using Armor.TinyModel.Training;

namespace Armor.TinyModel.Export;

/// <summary>From the training state to a Hugging Face folder.</summary>
internal static class ModelFolder
{
    /// <summary>Writes configuration, bfloat16 weights, tokenizer and generation settings.</summary>
    /// <returns>Where training stood.</returns>
    public static TrainingCheckpoint Write(TrainingOptions options, string folder)
    {
        var vocabulary = TokenizerFiles.Read(options.Work);
        using var model = new CausalLanguageModel(options.Model(vocabulary.Size, vocabulary.BeginToken, vocabulary.EndToken));
        var position = TrainingCheckpoint.Load(Path.Combine(options.Work, Trainer.StateFile), model, null);
        model.Save(folder, TensorElementType.BFloat16);
        TokenizerFiles.Write(vocabulary, folder, options.Context);
        File.WriteAllText(
            Path.Combine(folder, "generation_config.json"),
            $$"""
            {
              "bos_token_id": {{vocabulary.BeginToken}},
              "eos_token_id": {{vocabulary.EndToken}},
              "do_sample": true,
              "temperature": 0.8,
              "top_p": 0.95,
              "max_length": {{options.Context}}
            }

            """);
        return position;
    }
}
