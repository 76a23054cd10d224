"""The Mamba language model: blocks, backbone, states."""
