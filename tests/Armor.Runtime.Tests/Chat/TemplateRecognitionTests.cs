using System.Text.Json;
using System.Text.Json.Nodes;
using Armor.Runtime.Chat;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Tokenization;

namespace Armor.Runtime.Tests.Chat;

/// <summary>Which template a folder's files are recognised as. The texts are shortened forms of published ones.</summary>
public sealed class TemplateRecognitionTests
{
    private const string Llama3 =
        "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}"
        + "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        + "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}";

    private const string Llama31 =
        """
        {{- bos_token }}{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}{{- "Cutting Knowledge Date: December 2023\n" }}
        {{- "Today Date: " + date_string + "\n\n" }}{{- system_message }}{{- "<|eot_id|>" }}
        {%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}{%- endfor %}
        """;

    private const string Qwen2 =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
        + "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{{ '<|im_start|>assistant\n' }}";

    private const string Qwen25 =
        """
        {%- if tools %}{{- '<|im_start|>system\n' }}{{- messages[0]['content'] }}{{- "# Tools\n</tools><|im_end|>\n" }}
        {%- else %}{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
        {%- else %}{{- '<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n' }}{%- endif %}{%- endif %}
        {{- '<|im_start|>user' }}{{- '<|im_start|>assistant\n' }}
        """;

    private const string Qwen3 =
        """
        {%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}{%- endif %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
        {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
        {{- '<|im_start|>assistant\n' }}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
        """;

    private const string ReasoningOnly =
        "{{ '<|im_start|>' + message.role + '\\n' + message.content.split('</think>')[-1] + '<|im_end|>' }}{{- '<|im_start|>assistant\\n<think>\\n' }}";

    private const string Llama2 =
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}";

    private const string Gemma2 =
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}"
        + "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
        + "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{{'<start_of_turn>model\n'}}";

    private const string Gemma3 =
        "{{ bos_token }}{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}{%- for message in loop_messages -%}"
        + "{{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else '') }}{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{%- endfor -%}"
        + "{{'<start_of_turn>model\n'}}";

    private const string Mistral1 =
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('...') }}{% endif %}"
        + "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        + "{{ message['content'] + eos_token + ' ' }}{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}";

    private const string Mistral2 =
        """
        {{- bos_token }}{%- if message["role"] == "user" %}{%- if loop.first and system_message is defined %}
        {{- " [INST] " + system_message + "\n\n" + message["content"] + " [/INST]" }}{%- else %}{{- " [INST] " + message["content"] + " [/INST]" }}
        {%- elif message["role"] == "assistant" %}{{- " " + message["content"] + eos_token}}
        """;

    private const string Mistral3 =
        """
        {{- bos_token }}{{- "[AVAILABLE_TOOLS] [" }}{%- if loop.last and system_message is defined %}
        {{- "[INST] " + system_message + "\n\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}
        {{- "[TOOL_CALLS] [" }}{{- "]" + eos_token }}{%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
        """;

    private const string MistralNemo =
        """
        {{- bos_token }}{%- if loop.last and system_message is defined %}{{- "[INST]" + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}{{- "[INST]" + message["content"] + "[/INST]" }}{%- elif message["role"] == "assistant" %}{{- message["content"] + eos_token}}
        """;

    private const string Phi3 =
        "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
        + "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
        + "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}"
        + "{{ eos_token }}{% endif %}";

    private const string FirstPhi3 =
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + "
        + "'<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}";

    private const string Phi4Mini =
        "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message %}"
        + "{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}"
        + "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{{ '<|assistant|>' }}";

    private TemporaryFolder folder = null!;
    private ModelTokenizer tokenizer = null!;

    [SetUp]
    public void WriteTokenizer()
    {
        folder = new TemporaryFolder();
        tokenizer = ByteTokenizer.Write(folder.Path, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>");
    }

    [TearDown]
    public void DeleteFolder() => folder.Dispose();

    private static IEnumerable<TestCaseData> Recognised()
    {
        yield return new TestCaseData(Llama3, new Llama3Template()).SetArgDisplayNames("Llama 3");
        yield return new TestCaseData(Llama31, Llama3Template.Dated).SetArgDisplayNames("Llama 3.1");
        yield return new TestCaseData(Qwen2, new ChatMLTemplate { DefaultSystem = "You are a helpful assistant." }).SetArgDisplayNames("Qwen 2");
        yield return new TestCaseData(Qwen25, new ChatMLTemplate { DefaultSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant." })
            .SetArgDisplayNames("Qwen 2.5");
        yield return new TestCaseData(Qwen3, new ChatMLTemplate { LeavesOutReasoning = true }).SetArgDisplayNames("Qwen 3");
        yield return new TestCaseData(ReasoningOnly, new ChatMLTemplate { LeavesOutReasoning = true, AnswerStart = "<think>\n" }).SetArgDisplayNames("QwQ");
        yield return new TestCaseData("{{ bos_token }}{{ '<|im_start|>' + role }}<|im_end|>", new ChatMLTemplate { StartsWithBeginOfSequence = true })
            .SetArgDisplayNames("ChatML after a start");
        yield return new TestCaseData(Gemma2, new GemmaTemplate()).SetArgDisplayNames("Gemma 2");
        yield return new TestCaseData(Gemma3, new GemmaTemplate { PutsSystemIntoQuestion = true }).SetArgDisplayNames("Gemma 3");
        yield return new TestCaseData(Llama2, new Llama2Template()).SetArgDisplayNames("Llama 2");
        yield return new TestCaseData(Mistral1, new MistralTemplate { SpaceBeforeAnswerMark = true, SpaceAfterAnswer = true }).SetArgDisplayNames("Mistral 0.1");
        yield return new TestCaseData(
            Mistral2,
            MistralTemplate.Version1 with { SystemPlace = MistralSystemPlace.FirstQuestion, SpaceBeforeQuestionMark = true, SpaceBeforeAnswer = true })
            .SetArgDisplayNames("Mistral 0.2");
        yield return new TestCaseData(Mistral3, MistralTemplate.Version3).SetArgDisplayNames("Mistral 0.3");
        yield return new TestCaseData(MistralNemo, MistralTemplate.Version3Tekken).SetArgDisplayNames("Mistral Nemo");
        yield return new TestCaseData(Phi3, new Phi3Template()).SetArgDisplayNames("Phi 3");
        yield return new TestCaseData(FirstPhi3, new Phi3Template { StartsWithBeginOfSequence = true, HasSystem = false }).SetArgDisplayNames("Phi 3, first");
        yield return new TestCaseData(Phi4Mini, new Phi3Template { HasLineBreaks = false }).SetArgDisplayNames("Phi 4 mini");
    }

    [TestCaseSource(nameof(Recognised))]
    public void EveryPlaceOfATemplateIsRead(string text, IChatTemplate expected)
    {
        WriteConfiguration(text);
        Assert.That(Written(ChatTemplates.Load(folder.Path, tokenizer)), Is.EqualTo(Written(expected)));

        WriteConfiguration(new JsonArray(
            new JsonObject { ["name"] = "tool_use", ["template"] = "other" }, new JsonObject { ["name"] = "default", ["template"] = text }));
        Assert.That(Written(ChatTemplates.Load(folder.Path, tokenizer)), Is.EqualTo(Written(expected)), "the default of several");

        WriteConfiguration("something else");
        File.WriteAllText(folder.File("chat_template.jinja"), text);
        Assert.That(Written(ChatTemplates.Load(folder.Path, tokenizer)), Is.EqualTo(Written(expected)), "a file of its own goes before");
    }

    [TestCase(Gemma2, false)]
    [TestCase(Gemma3, true)]
    public void OnlyALaterGemmaTakesASystem(string text, bool expected)
    {
        WriteConfiguration(text);
        Assert.That(ChatTemplates.Load(folder.Path, tokenizer), Has.Property(nameof(GemmaTemplate.PutsSystemIntoQuestion)).EqualTo(expected));
    }

    [Test]
    public void WithoutATemplateTheSpecialTokensTell()
    {
        Assert.That(ChatTemplates.Load(folder.Path, tokenizer), Is.InstanceOf<Llama3Template>().With.Property("Date").Null);
        string qwen = folder.File("qwen");
        Assert.That(ChatTemplates.Load(qwen, ByteTokenizer.Write(qwen, "<|im_start|>", "<|im_end|>")), Is.InstanceOf<ChatMLTemplate>());
        string bare = folder.File("bare");
        Assert.That(
            () => ChatTemplates.Load(bare, ByteTokenizer.Write(bare)),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("no chat template").And.Message.Contains("<|im_start|>").And.Message.Contains("IChatTemplate"));
    }

    [TestCase("{{ '<start_of_turn>' + role }}")]
    [TestCase("{{ bos_token }}[INST] {{ content }} [/INST]")]
    [TestCase("{{ '[SYSTEM_PROMPT]' + system }}{{ '[INST]' + message['content'] + '[/INST]' }}{{ message['content'] + eos_token }}")]
    [TestCase("{{ '<|narrator|>' + message['content'] + '<|end|>' }}{{ '<|assistant|>' }}")]
    [TestCase("<|im_start|>{{ role }}<|im_sep|>{{ content }}<|im_end|>")]
    [TestCase("<|start_header_id|>Metadata<|end_header_id|><|eot_id|>")]
    [TestCase("<|im_start|>narrator<|im_end|>")]
    [TestCase("")]
    public void AnotherTemplateIsRefused(string text)
    {
        WriteConfiguration(text);
        Assert.That(
            () => ChatTemplates.Load(folder.Path, tokenizer),
            Throws.TypeOf<CheckpointException>().With.Message.Contains("tokenizer_config.json").And.Message.Contains("<|start_header_id|>")
                .And.Message.Contains("IChatTemplate").And.Message.Contains(text[..Math.Min(text.Length, 20)]));
    }

    [Test]
    public void BadFilesAreRefused()
    {
        WriteConfiguration(JsonValue.Create(3));
        Assert.That(Load, Throws.TypeOf<CheckpointException>().With.Message.Contains("chat_template"));
        WriteConfiguration(new JsonArray(new JsonObject { ["name"] = "rag", ["template"] = Qwen2 }));
        Assert.That(Load, Throws.TypeOf<CheckpointException>().With.Message.Contains("default"));
        File.WriteAllText(folder.File("tokenizer_config.json"), "{ not json");
        Assert.That(Load, Throws.TypeOf<CheckpointException>().With.Message.Contains("tokenizer_config.json"));
        File.WriteAllText(folder.File("chat_template.jinja"), Qwen2 + new string(' ', 1 << 20));
        Assert.That(Load, Throws.TypeOf<CheckpointException>().With.Message.Contains("too long"));

        string bare = folder.File("bare");
        ModelTokenizer other = ByteTokenizer.Write(bare);
        File.WriteAllText(Path.Combine(bare, "chat_template.jinja"), Qwen2);
        Assert.That(() => ChatTemplates.Load(bare, other), Throws.TypeOf<CheckpointException>().With.Message.Contains("'<|im_start|>'"));

        void Load() => ChatTemplates.Load(folder.Path, tokenizer);
    }

    private void WriteConfiguration(JsonNode template) => File.WriteAllText(
        folder.File("tokenizer_config.json"), new JsonObject { ["chat_template"] = template }.ToJsonString(JsonSerializerOptions.Default));

    [TestCase(Mistral1, MistralSystemPlace.Nowhere)]
    [TestCase(Mistral2, MistralSystemPlace.FirstQuestion)]
    [TestCase(Mistral3, MistralSystemPlace.LastQuestion)]
    [TestCase(MistralNemo, MistralSystemPlace.LastQuestion)]
    public void MistralsSystemHasItsPlace(string text, MistralSystemPlace expected)
    {
        WriteConfiguration(text);
        Assert.That(ChatTemplates.Load(folder.Path, tokenizer), Has.Property(nameof(MistralTemplate.SystemPlace)).EqualTo(expected));
    }

    [TestCase(Phi3, true)]
    [TestCase(FirstPhi3, false)]
    [TestCase(Phi4Mini, true)]
    public void PhisSystemIsAllowedWhereTheTemplateWritesIt(string text, bool expected)
    {
        WriteConfiguration(text);
        Assert.That(ChatTemplates.Load(folder.Path, tokenizer), Has.Property(nameof(Phi3Template.HasSystem)).EqualTo(expected));
    }

    /// <summary>A template's type and what it writes, which is all that tells templates apart.</summary>
    private string Written(IChatTemplate template) => template.GetType().Name + tokenizer.Decode(
        template.Encode(
            [
                new ChatTurn(ChatTurnRole.User, " a "), new ChatTurn(ChatTurnRole.Assistant, "<think>\nb\n</think>\n\nc"), new ChatTurn(ChatTurnRole.User, "d"),
            ],
            tokenizer),
        skipSpecialTokens: false);
}
