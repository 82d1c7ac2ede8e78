/*
 * How encode_filter.cu cuts its work: the shapes of blocks, and what a block has in shared memory.
 */
#ifndef STK_FILTER_TILE_CUH
#define STK_FILTER_TILE_CUH

#include "filter_reference.cuh"

/* Panels' chunks in shared memory: one multiplied, the others on their way. */
#define STAGES 3
/* Candidates kept of a row by each column of warps. */
#define ROOM 16
/* Rows whose loads a warp has on their way while it forms residuals. */
#define AT_ONCE 8

/*
 * How a block is cut: ROWS x COLUMNS warps, each with MTILES x 16 rows and NTILES x 8 codewords.
 * Registers are to suffice for BLOCKS of them on a processor.
 */
template <int MTILES, int NTILES, int ROWS, int COLUMNS, int BLOCKS> struct shape
{
	static constexpr int mtiles = MTILES;
	static constexpr int ntiles = NTILES;
	static constexpr int columns = COLUMNS;
	static constexpr int warps = ROWS * COLUMNS;
	static constexpr int threads = 32 * warps;
	static constexpr int rows = 16 * MTILES * ROWS;    /* of a tile */
	static constexpr int codes = 8 * NTILES * COLUMNS; /* of a panel */
	static constexpr int stage_bytes = codes * STK_CHUNK * (int) sizeof(uint16_t);
	static constexpr int blocks = BLOCKS;

	static_assert(STK_PANEL % codes == 0, "a level is padded to whole panels");
	static_assert(rows % AT_ONCE == 0, "rows are taken in whole batches");
};

typedef struct candidate
{
	uint32_t code;
	float score;
} candidate;

/* A block's shared memory, after the tile of rows and the stages. */
template <typename S> struct row_store
{
	candidate candidates[S::columns][S::rows][ROOM];
	int count[S::columns][S::rows]; /* beyond ROOM: some were dropped */
	float best[S::columns][S::rows];
	float margin[S::rows]; /* not finite: nothing is proved */
	int queue[S::rows];    /* rows for the reference */
	int queued;
	int several; /* of these, rows with candidates */
};

template <typename S>
static size_t
shared_bytes(int wide_dim)
{
	return (size_t) S::rows * wide_dim * sizeof(uint16_t) + (size_t) STAGES * S::stage_bytes +
		   sizeof(row_store<S>);
}

#endif
