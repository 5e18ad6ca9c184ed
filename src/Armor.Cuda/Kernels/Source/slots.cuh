// Which rows go through which experts, as the card itself has chosen (experts.cu): every row has a slot for each of its experts, and slots lie in the order of
// experts. Products read this in place of fixed addresses, so that one recording serves every choice.

/// A row and a weight: of a slot its row, or of a row one of its slots.
struct alignas(8) Selected
{
    int row;
    float weight;
};

/// An expert that some rows go through.
struct alignas(16) ActiveExpert
{
    int expert;
    int first_slot;
    int count;                  // 0 beyond the last one
    int first_eight;
};

/// Up to eight slots of one expert: what goes into a fragment of inputs together.
struct alignas(16) ExpertEight
{
    int expert;
    int first_slot;
    int count;                  // 0 beyond the last one
    int unused;
};

/// One matrix of one expert.
struct alignas(16) ExpertWeight
{
    const Word4* weight;
    const Word4* wrapper;       // A, or null
};

ARMOR_DEVICE ActiveExpert load_active(const ActiveExpert* from)
{
    const Word4 words = load_input(reinterpret_cast<const Word4*>(from));
    return { static_cast<int>(words.x), static_cast<int>(words.y), static_cast<int>(words.z), static_cast<int>(words.w) };
}

ARMOR_DEVICE ExpertEight load_eight(const ExpertEight* from)
{
    const Word4 words = load_input(reinterpret_cast<const Word4*>(from));
    return { static_cast<int>(words.x), static_cast<int>(words.y), static_cast<int>(words.z), 0 };
}

ARMOR_DEVICE Selected load_selected(const Selected* from)
{
    const Float2 words = load_input(reinterpret_cast<const Float2*>(from));
    return { static_cast<int>(float_to_bits(words.x)), words.y };
}

/// An address that lies in the card's memory.
ARMOR_DEVICE const Word4* load_address(const u64* from) { return reinterpret_cast<const Word4*>(load_input(from)); }
