/*
 * How encode_hopper.cu cuts its work, and what a block has in shared memory.
 *
 * A consumer is a warpgroup with 64 rows; each of its warps has 16, which arrive as one piece: rows
 * lie one after the other in memory. Piece i goes through slot i mod row_slots, and completes on
 * barrier i mod row_phases. Packed panels of codewords go through slots of their own, each with its
 * offsets, unless all of the level's fit: then each has its slot for good.
 */
#ifndef STK_HOPPER_TILE_CUH
#define STK_HOPPER_TILE_CUH

#include "filter_reference.cuh"
#include "hopper.cuh"

#define WARP_ROWS 16
#define GROUP_ROWS 64
/* Open rows that a block's list has room for. */
#define OPEN_ROOM 192

/*
 * CHUNKS x STK_CHUNK elements of a row at the most, FULL: exactly so many; GROUPS warpgroups of
 * consumers; RESIDUALS: codewords of levels before are to be subtracted; RECORDS as below.
 */
template <int CHUNKS, bool FULL, int GROUPS, bool RESIDUALS, int REGISTERS, int RECORDS>
struct hopper_shape
{
	static constexpr int chunks = CHUNKS;
	static constexpr bool full = FULL;
	static constexpr int groups = GROUPS;
	static constexpr bool residuals = RESIDUALS;
	static constexpr int registers = REGISTERS; /* of a consumer's thread */
	static constexpr int records = RECORDS;
	static constexpr int steps = 4 * CHUNKS; /* of 16 elements */
	static constexpr int threads = 128 * (GROUPS + 1);
	static constexpr int panel_bytes = CHUNKS * STK_PANEL * STK_CHUNK * (int) sizeof(uint16_t);

	/* A row's elements, known beforehand where they can be. */
	static __device__ constexpr int
	dim(int given)
	{
		return FULL ? CHUNKS * STK_CHUNK : given;
	}
};

/*
 * Panels of which a thread keeps a row's hits. Fewer take fewer registers and instructions, and a
 * level of no more panels drops none; with more panels, hits of RECORDS_OF_MANY are seldom dropped.
 */
#define RECORDS_OF_FEW 2
#define RECORDS_OF_MANY 4

/* Of one row, the hits that a thread has seen: by panels. */
template <int RECORDS> struct row_hits
{
	uint32_t mask[RECORDS]; /* bit 31 - e for its e-th codeword of the panel */
	float most[RECORDS];    /* best score of them */
	uint16_t panel[RECORDS];
	float dropped; /* best score of hits that are no longer kept */
};

/* A row that the filter left open: the hits of the four threads that had it. */
template <int RECORDS> struct open_row
{
	size_t row;
	bool all; /* nothing is proved: any codeword */
	uint16_t panel[4][RECORDS];
	uint32_t mask[4][RECORDS];
};

/* Rows that wait for the end of the block's work, where all its consumers settle them. */
template <int RECORDS> struct open_list
{
	open_row<RECORDS> *rows;
	uint32_t room;
	uint32_t count_at; /* in shared memory; more than room: some did not wait */
};

/* Where things lie in a block's shared memory, in bytes from a multiple of 1024. */
typedef struct hopper_layout
{
	uint32_t offsets;  /* [panel_slots][STK_PANEL] */
	uint32_t rows;     /* [row_slots][piece] */
	uint32_t centre;   /* [wide_dim], scaled and negated */
	uint32_t open;     /* [open_room] */
	uint32_t barriers; /* panels full, empty; rows full, empty; then open rows' count */
	uint32_t bytes;
	uint32_t piece;
	uint32_t panel_slots;
	uint32_t row_slots;
	uint32_t row_phases; /* barriers that pieces of rows complete on, in turn */
	uint32_t open_room;
	bool resident; /* each panel has its slot */
} hopper_layout;

typedef struct hopper_args
{
	encode_args encode;
	hopper_layout at;
	int level;
	size_t tiles; /* of GROUP_ROWS */
} hopper_args;

/*
 * What the device has. Kernels are allowed all of its shared memory, whatever a launch takes: calls
 * of different shapes, from different threads, must not lower the limit under one another.
 */
typedef struct hopper_limits
{
	int processors;
	int shared; /* bytes a block may have */
} hopper_limits;

/* Is the current device a Hopper, and what has it? */
static inline bool
read_limits(hopper_limits *limits)
{
	int device, major;

	return cudaGetDevice(&device) == cudaSuccess &&
		   cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) ==
			   cudaSuccess &&
		   major == 9 &&
		   cudaDeviceGetAttribute(&limits->processors, cudaDevAttrMultiProcessorCount, device) ==
			   cudaSuccess &&
		   cudaDeviceGetAttribute(&limits->shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
								  device) == cudaSuccess;
}

#endif
